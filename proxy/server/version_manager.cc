#include "proxy/server/version_manager.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "offset/base/log.h"
#include "offset/base/status_macros.h"
#include "offset/model/lora.h"
#include "offset/model/safetensors.h"
#include "offset/model/torch_boundary.h"
#include "offset/store/version_rules.h"

namespace unlearn {

VersionManager::VersionManager(VersionStore* store, GuardedUpstream* upstream,
                               std::shared_ptr<const Decoder> base, std::string pair_fingerprint,
                               std::string tokenizer_fingerprint, const Options& options,
                               prometheus::Registry& registry)
    : store_(store),
      upstream_(upstream),
      base_(std::move(base)),
      pair_fingerprint_(std::move(pair_fingerprint)),
      tokenizer_fingerprint_(std::move(tokenizer_fingerprint)),
      options_(options),
      active_gauge_(prometheus::BuildGauge()
                        .Name("unlearn_active_version")
                        .Help("Offset version that new streams use; -1 when nothing is served")
                        .Register(registry)
                        .Add({})),
      problem_gauge_(prometheus::BuildGauge()
                         .Name("unlearn_version_problem")
                         .Help("1 when the store's active version is not the one served")
                         .Register(registry)
                         .Add({})),
      swaps_(prometheus::BuildCounter()
                 .Name("unlearn_version_swaps_total")
                 .Help("Offset versions put into service")
                 .Register(registry)
                 .Add({})) {
  Refresh();
  thread_ = std::thread([this] { Run(); });
}

VersionManager::~VersionManager() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

absl::StatusOr<std::shared_ptr<const ServedVersion>> VersionManager::Current() const {
  absl::MutexLock lock(&mutex_);
  if (current_ != nullptr) return current_;
  return absl::UnavailableError(
      absl::StrCat("no offset version can be served: ", problem_.message()));
}

absl::StatusOr<std::shared_ptr<const ServedVersion>> VersionManager::Pinned(
    uint64_t version) const {
  ASSIGN_OR_RETURN(const std::shared_ptr<const ServedVersion> current, Current());
  if (current->version == version) return current;
  ASSIGN_OR_RETURN(const v1::Manifest manifest, store_->ReadManifest(version));
  const std::vector<std::string> lost = RequestsLost(current->manifest, manifest);
  if (!lost.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("offset_version ", version, " lacks the requests ", absl::StrJoin(lost, ", "),
                     ", which the active version ", current->version, " enforces"));
  }
  return LoadVersion(version);
}

std::vector<uint64_t> VersionManager::RetiredInUse() const {
  absl::MutexLock lock(&mutex_);
  std::vector<uint64_t> versions;
  for (const auto& retired : retired_) {
    if (const auto version = retired.lock()) versions.push_back(version->version);
  }
  return versions;
}

absl::Status VersionManager::problem() const {
  absl::MutexLock lock(&mutex_);
  return problem_;
}

void VersionManager::OnServingChange(std::function<void(bool)> callback) {
  absl::MutexLock lock(&mutex_);
  on_change_ = std::move(callback);
  if (on_change_) on_change_(current_ != nullptr);
}

void VersionManager::Run() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stopping_), options_.poll)) return;
    }
    Refresh();
  }
}

void VersionManager::Refresh() {
  absl::MutexLock refresh(&refresh_mutex_);
  const std::string token = store_->ActiveToken();
  if (token != seen_token_ || loaded_ == nullptr) {
    const absl::StatusOr<uint64_t> active = store_->ActiveVersion();
    load_problem_ = active.status();
    if (active.ok()) {
      absl::StatusOr<std::shared_ptr<const ServedVersion>> loaded = LoadVersion(*active);
      load_problem_ = loaded.status();
      if (loaded.ok()) loaded_ = *std::move(loaded);
    }
    seen_token_ = token;
  }
  if (loaded_ == nullptr) {
    Publish(nullptr, load_problem_);
    return;
  }
  // Asks M itself for a new version only; else it tells what the watch over M has found. M that
  // does not answer may come back, and its streams fail one by one meanwhile: what was confirmed
  // stays so. M that answers as another model must not be combined with this offset at all.
  const absl::Status confirmed = upstream_->Confirm(loaded_->manifest.model_fingerprint());
  const bool another = absl::IsFailedPrecondition(confirmed);
  Publish(confirmed.ok() ? loaded_ : nullptr,
          another || load_problem_.ok() ? confirmed : load_problem_);
}

absl::StatusOr<std::shared_ptr<const ServedVersion>> VersionManager::LoadVersion(
    uint64_t version) const {
  ASSIGN_OR_RETURN(v1::Manifest manifest, store_->ReadManifest(version));
  const auto mismatch = [&](absl::string_view what, absl::string_view flag) {
    return absl::FailedPreconditionError(absl::StrCat("version ", version, " was made for another ",
                                                      what, " than the one of --", flag,
                                                      "; use the one it was made for"));
  };
  if (manifest.pair_fingerprint() != pair_fingerprint_) return mismatch("pair", "pair");
  if (manifest.tokenizer_fingerprint() != tokenizer_fingerprint_) {
    return mismatch("tokenizer", "upstream");
  }
  if (manifest.combiner() != "delta") {
    return absl::UnimplementedError(
        absl::StrCat("version ", version, ": $.combiner ", manifest.combiner(), " is not known"));
  }
  std::vector<LoraAdapter> adapters;
  for (int i = 0; i < manifest.adapters_size(); ++i) {
    ASSIGN_OR_RETURN(std::string bytes, store_->ReadAdapter(manifest, i));
    ASSIGN_OR_RETURN(const auto file,
                     SafetensorsFile::FromBytes(std::move(bytes), manifest.adapters(i).file()));
    ASSIGN_OR_RETURN(LoraAdapter adapter, LoraAdapter::Load(*file, base_->config()));
    adapters.push_back(std::move(adapter));
  }
  return CatchTorch(
      "loading an offset version", [&]() -> absl::StatusOr<std::shared_ptr<const ServedVersion>> {
        std::vector<const LoraAdapter*> pointers;
        for (const LoraAdapter& adapter : adapters) pointers.push_back(&adapter);
        auto served = std::make_shared<ServedVersion>();
        served->version = version;
        served->alpha = manifest.alpha();
        served->stack = std::make_shared<const LoraStack>(FuseAdapters(base_->config(), pointers));
        served->manifest = std::move(manifest);
        if (options_.warm) RETURN_IF_ERROR(options_.warm(served->stack));
        return std::shared_ptr<const ServedVersion>(std::move(served));
      });
}

void VersionManager::Publish(std::shared_ptr<const ServedVersion> current, absl::Status problem) {
  std::function<void(bool)> notify;
  const bool serving = current != nullptr;
  {
    absl::MutexLock lock(&mutex_);
    if (problem != problem_ && !problem.ok()) LogError("offset version: ", problem.message());
    if (current != current_ && serving) {
      LogInfo("offset version ", current->version, " serves: alpha ", current->alpha, ", ",
              current->manifest.request_ids_size(), " requests enforced");
      swaps_.Increment();
    }
    if (current != current_ && current_ != nullptr) {
      retired_.erase(std::remove_if(retired_.begin(), retired_.end(),
                                    [](const auto& retired) { return retired.expired(); }),
                     retired_.end());
      retired_.push_back(current_);
    }
    if (serving != (current_ != nullptr)) notify = on_change_;
    current_ = std::move(current);
    problem_ = std::move(problem);
    active_gauge_.Set(serving ? static_cast<double>(current_->version) : -1);
    problem_gauge_.Set(problem_.ok() ? 0 : 1);
  }
  if (notify) notify(serving);
}

}  // namespace unlearn
