#ifndef OFFSET_PAIR_PAIR_ENGINE_H_
#define OFFSET_PAIR_PAIR_ENGINE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/model/decoder.h"
#include "offset/model/kv_cache.h"
#include "offset/model/lora.h"

namespace unlearn {

// Tokens of one stream to run: they follow position `base_position`, and what the stream held at or
// after it is rolled back.
struct PairStep {
  int stream = 0;
  int32_t base_position = 0;
  absl::Span<const int32_t> tokens;
  // How many of the step's last tokens need their row of delta (0: prefill only).
  int32_t wanted = 1;
};

// The two small models of the ensemble as one engine: the reference and the offset of every stream
// are rows of one batch over one base, whose weights are read once a step. Streams may use
// different adapter stacks. Not thread-safe: one thread owns it.
class PairEngine {
 public:
  // `kv_cache_tokens`: positions over all streams; each stream takes two per token.
  PairEngine(std::shared_ptr<const Decoder> base, int64_t kv_cache_tokens);

  // A stream under an adapter stack. An empty stack (version 0) costs nothing: its delta is exactly
  // zero without running a model.
  int AddStream(std::shared_ptr<const LoraStack> stack);
  void RemoveStream(int stream);

  // Runs all steps in one pass. Returns delta = z_o - z_r = W (h_o - h_r) of the wanted tokens,
  // fp32 [wanted rows in step order, vocab]. The head is linear and shared (an adapter on it is
  // refused at load), so that one product of the difference of hidden states gives delta.
  // RESOURCE_EXHAUSTED when the cache is full, INVALID_ARGUMENT for a token or position outside the
  // base; no stream has changed then.
  absl::StatusOr<at::Tensor> Step(absl::Span<const PairStep> steps);

  const ModelConfig& config() const { return base_->config(); }
  int64_t free_tokens() const { return cache_.free_tokens() / 2; }
  int64_t total_tokens() const { return cache_.total_tokens() / 2; }

 private:
  struct Stream {
    std::shared_ptr<const LoraStack> stack;
    int reference = -1;  // sequences of the cache
    int offset = -1;
  };

  std::shared_ptr<const Decoder> base_;
  KvCache cache_;
  std::vector<Stream> streams_;
  std::vector<int> free_streams_;
};

}  // namespace unlearn

#endif  // OFFSET_PAIR_PAIR_ENGINE_H_
