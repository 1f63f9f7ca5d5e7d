#ifndef PROXY_UPSTREAM_LOCAL_UPSTREAM_H_
#define PROXY_UPSTREAM_LOCAL_UPSTREAM_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

class Decoder;
class LocalEngine;

struct LocalUpstreamOptions {
  // Positions over all sessions; 0: 64 full contexts, at most 2 GiB.
  int64_t kv_cache_tokens = 0;
  // Rows of long steps (prompts) that run in one pass beside the short ones, so that streams in
  // progress go on while a prompt is read.
  int64_t prefill_chunk = 256;
};

// M in this process on LibTorch. One thread owns the model and the KV cache and runs the pending
// steps of all sessions as one batch; callbacks run on it. Sessions may outlive the upstream:
// their steps are then CANCELLED (in the caller's thread, there being no other).
//
// A step that fails leaves the session with the tokens before its base_position, one that is
// refused as INVALID_ARGUMENT leaves it as it was; the session can be used again.
class LocalUpstream : public Upstream {
 public:
  // An HF model folder with tokenizer.json. Uses `dtype` and `kv_cache_tokens` of the options.
  // NOT_FOUND or INVALID_ARGUMENT with the file or option that is wrong.
  static absl::StatusOr<std::unique_ptr<LocalUpstream>> Open(const std::string& folder,
                                                             const UpstreamOptions& options);

  // A model that is loaded already. vocab_size, max_context and eos_token_ids of `info` are taken
  // from it. RESOURCE_EXHAUSTED when there is no memory for the cache.
  static absl::StatusOr<std::unique_ptr<LocalUpstream>> Create(
      std::shared_ptr<const Decoder> decoder, UpstreamInfo info,
      const LocalUpstreamOptions& options);

  // Ends the thread; steps under way are answered with CANCELLED. Not from a callback.
  ~LocalUpstream() override;

  const UpstreamInfo& info() const override { return info_; }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override;
  // The weights in memory cannot change: info() again.
  absl::StatusOr<UpstreamInfo> Probe() override { return info_; }

  // Of the KV cache, as of the last pass; for metrics and tests.
  int64_t free_tokens() const;
  int64_t total_tokens() const;

 private:
  LocalUpstream(UpstreamInfo info, std::shared_ptr<LocalEngine> engine);

  const UpstreamInfo info_;
  const std::shared_ptr<LocalEngine> engine_;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_LOCAL_UPSTREAM_H_
