#include "trainer/server/publisher.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/store/version_rules.h"

namespace unlearn {
namespace {

constexpr char kWho[] = "unlearn_trainer";

std::string FingerprintOf(const v1::Manifest& manifest) {
  std::string fingerprint;
  // The pair and M belong to it: an adapter fits one base, and its target came from one M.
  absl::StrAppend(&fingerprint, manifest.pair_fingerprint(), "\n", manifest.model_id(), "\n",
                  manifest.tokenizer_fingerprint(), "\n");
  for (const v1::AdapterFile& adapter : manifest.adapters()) {
    absl::StrAppend(&fingerprint, adapter.request_id(), " ", adapter.rank(), "\n");
  }
  return fingerprint;
}

}  // namespace

std::string ActiveStack::Fingerprint() const { return FingerprintOf(manifest); }

absl::StatusOr<ActiveStack> ReadActiveStack(const VersionStore& store) {
  ActiveStack stack;
  ASSIGN_OR_RETURN(const uint64_t version, store.ActiveVersion());
  ASSIGN_OR_RETURN(stack.manifest, store.ReadManifest(version));
  for (int i = 0; i < stack.manifest.adapters_size(); ++i) {
    ASSIGN_OR_RETURN(std::string adapter, store.ReadAdapter(stack.manifest, i));
    stack.adapters.push_back(std::move(adapter));
  }
  return stack;
}

absl::StatusOr<uint64_t> PublishAdapter(VersionStore& store, const ActiveStack& base,
                                        const std::string& request_id,
                                        const TrainingOutcome& outcome) {
  if (!outcome.accepted || outcome.adapter.empty() || outcome.rank <= 0 ||
      !std::isfinite(outcome.alpha) || outcome.alpha <= 0) {
    return absl::InternalError(absl::StrCat(
        "training of ", request_id, " gave nothing that can be served: adapter of ",
        outcome.adapter.size(), " bytes, rank ", outcome.rank, ", alpha ", outcome.alpha));
  }
  ASSIGN_OR_RETURN(const uint64_t active, store.ActiveVersion());
  ASSIGN_OR_RETURN(const v1::Manifest now, store.ReadManifest(active));
  if (FingerprintOf(now) != base.Fingerprint()) {
    return absl::AbortedError(absl::StrCat("the active version changed from ",
                                           base.manifest.version(), " to ", active,
                                           " during the training of ", request_id));
  }
  v1::Manifest draft = now;
  draft.clear_created_unix_seconds();
  draft.set_alpha(outcome.alpha);
  draft.set_objective(outcome.objective);
  draft.set_seed(outcome.seed);
  draft.clear_scores();
  draft.mutable_scores()->insert(outcome.scores.begin(), outcome.scores.end());
  draft.add_request_ids(request_id);
  std::vector<NewAdapter> adapters;
  for (size_t i = 0; i < base.adapters.size(); ++i) {
    const v1::AdapterFile& file = base.manifest.adapters(static_cast<int>(i));
    adapters.push_back({file.request_id(), file.rank(), base.adapters[i]});
  }
  adapters.push_back({request_id, outcome.rank, outcome.adapter});
  return store.Publish(std::move(draft), adapters);
}

absl::Status EnsureActive(VersionStore& store, uint64_t version, const std::string& request_id) {
  const auto active = store.ActiveVersion();
  if (active.ok()) {
    ASSIGN_OR_RETURN(const v1::Manifest manifest, store.ReadManifest(*active));
    const std::vector<std::string> enforced = EnforcedRequests(manifest);
    if (std::find(enforced.begin(), enforced.end(), request_id) != enforced.end()) {
      return absl::OkStatus();
    }
  }
  return store.Activate(version, {}, kWho);
}

}  // namespace unlearn
