#include "proxy/upstream/local_upstream.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/torch_boundary.h"
#include "offset/text/tokenizer.h"
#include "proxy/upstream/local_engine.h"

namespace unlearn {
namespace {

constexpr int64_t kDefaultContexts = 64;
constexpr int64_t kDefaultCacheBytes = int64_t{2} << 30;
// More than any machine has; keeps sizes in bytes within 64 bits.
constexpr int64_t kMaxCacheBytes = int64_t{1} << 46;

class LocalSession : public UpstreamSession {
 public:
  explicit LocalSession(std::shared_ptr<LocalEngine> engine)
      : engine_(std::move(engine)), sequence_(std::make_shared<LocalEngine::Sequence>()) {}
  ~LocalSession() override { engine_->Close(sequence_); }

  void Step(UpstreamStep step, Callback done) override {
    engine_->Step(sequence_, std::move(step), std::move(done));
  }

 private:
  const std::shared_ptr<LocalEngine> engine_;
  const std::shared_ptr<LocalEngine::Sequence> sequence_;
};

// auto: what is smallest and loses nothing.
absl::StatusOr<at::ScalarType> ParseDtype(const std::string& dtype, const Checkpoint& checkpoint) {
  if (dtype == "auto") return checkpoint.is_bf16() ? at::kBFloat16 : at::kFloat;
  if (dtype == "fp32") return at::kFloat;
  if (dtype == "bf16") return at::kBFloat16;
  return absl::InvalidArgumentError(
      absl::StrCat("--dtype: ", dtype, " is not supported; use auto, fp32 or bf16"));
}

// The name in config.json where it is one (some trainers leave their own path there), or else the
// folder's.
std::string ModelName(const std::string& folder) {
  const absl::StatusOr<std::string> text = ReadFile(JoinPath(folder, "config.json"));
  if (text.ok()) {
    const nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
    for (const char* field : {"_name_or_path", "name_or_path"}) {
      if (!json.is_object() || !json.contains(field) || !json[field].is_string()) continue;
      const std::string name = json[field].get<std::string>();
      if (!name.empty() && name[0] != '/' && name[0] != '.' && name[0] != '~') return name;
    }
  }
  std::error_code error;
  const std::filesystem::path path = std::filesystem::weakly_canonical(folder, error);
  return error || path.filename().empty() ? folder : path.filename().string();
}

absl::StatusOr<int64_t> CacheTokens(const ModelConfig& config, int64_t asked) {
  const int64_t token_bytes = config.num_layers * 2 * config.num_kv_heads * config.head_dim *
                              static_cast<int64_t>(sizeof(float));
  if (asked == 0) {
    return std::max(KvCache::kPageTokens, std::min(kDefaultContexts * config.max_positions,
                                                   kDefaultCacheBytes / token_bytes));
  }
  if (asked < 0 || asked > kMaxCacheBytes / token_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("--kv_cache_tokens: ", asked, " tokens of ", token_bytes,
                     " bytes each cannot be held; give a number from 1 up, or 0 for the default"));
  }
  return asked;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalUpstream>> LocalUpstream::Open(const std::string& folder,
                                                                   const UpstreamOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, Checkpoint::Open(folder));
  ASSIGN_OR_RETURN(const at::ScalarType dtype, ParseDtype(options.dtype, *checkpoint));
  ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer,
                   Tokenizer::Load(checkpoint->tokenizer_path()));
  if (tokenizer->vocab_size() > checkpoint->config().vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint->tokenizer_path(), ": has token ids up to ",
                     tokenizer->vocab_size() - 1, ", but config.json says vocab_size ",
                     checkpoint->config().vocab_size, ": this is another model's tokenizer"));
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const Decoder> decoder, Decoder::Load(*checkpoint, dtype));
  UpstreamInfo info;
  info.model_id = ModelName(folder);
  info.weights_fingerprint = checkpoint->Fingerprint();
  info.tokenizer_fingerprint = tokenizer->fingerprint();
  LocalUpstreamOptions local;
  local.kv_cache_tokens = options.kv_cache_tokens;
  return Create(std::move(decoder), std::move(info), local);
}

absl::StatusOr<std::unique_ptr<LocalUpstream>> LocalUpstream::Create(
    std::shared_ptr<const Decoder> decoder, UpstreamInfo info,
    const LocalUpstreamOptions& options) {
  const ModelConfig& config = decoder->config();
  info.kind = "local";
  info.scores_drafts = true;
  info.vocab_size = static_cast<int32_t>(config.vocab_size);
  info.max_context = static_cast<int32_t>(config.max_positions);
  info.eos_token_ids = config.eos_token_ids;
  if (options.prefill_chunk < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("prefill_chunk: ", options.prefill_chunk, " is not a number from 1 up"));
  }
  ASSIGN_OR_RETURN(const int64_t tokens, CacheTokens(config, options.kv_cache_tokens));
  ASSIGN_OR_RETURN(std::unique_ptr<KvCache> cache,
                   CatchTorch(absl::StrCat("--kv_cache_tokens ", tokens),
                              [&]() -> absl::StatusOr<std::unique_ptr<KvCache>> {
                                return std::make_unique<KvCache>(config, tokens);
                              }));
  auto engine =
      std::make_shared<LocalEngine>(std::move(decoder), std::move(cache), options.prefill_chunk);
  return std::unique_ptr<LocalUpstream>(new LocalUpstream(std::move(info), std::move(engine)));
}

LocalUpstream::LocalUpstream(UpstreamInfo info, std::shared_ptr<LocalEngine> engine)
    : info_(std::move(info)), engine_(std::move(engine)) {}

LocalUpstream::~LocalUpstream() { engine_->Stop(); }

absl::StatusOr<std::unique_ptr<UpstreamSession>> LocalUpstream::NewSession() {
  return std::make_unique<LocalSession>(engine_);
}

int64_t LocalUpstream::free_tokens() const { return engine_->free_tokens(); }
int64_t LocalUpstream::total_tokens() const { return engine_->total_tokens(); }

}  // namespace unlearn
