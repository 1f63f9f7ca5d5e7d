#ifndef OFFSET_MODEL_CACHED_FORWARD_H_
#define OFFSET_MODEL_CACHED_FORWARD_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/decoder.h"
#include "offset/model/kv_cache.h"
#include "offset/model/lora.h"

namespace unlearn {

// Rows that share an adapter stack. Ranges are disjoint; rows in none run the bare base.
struct LoraRange {
  int64_t begin = 0;
  int64_t end = 0;
  const LoraStack* lora = nullptr;
};

// A flat batch: each row is one token of some sequence at some position. Prefill, decode and
// drafted tokens are all the same thing, and rows of many streams, of the reference and of several
// offset versions run together: the base's weights are read once for all of them.
struct TokenBatch {
  std::vector<int32_t> tokens;
  std::vector<int32_t> sequences;  // of the KV cache
  std::vector<int32_t> positions;  // in a sequence ascending, with no gap after what is cached
  std::vector<LoraRange> loras;
  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  void Add(int32_t token, int32_t sequence, int32_t position) {
    tokens.push_back(token);
    sequences.push_back(sequence);
    positions.push_back(position);
  }
};

// Takes the pages that the batch writes. INVALID_ARGUMENT for a token or a position outside the
// model, RESOURCE_EXHAUSTED when there are too few pages; nothing has changed then.
absl::Status PrepareBatch(const ModelConfig& config, const TokenBatch& batch, KvPages& pages);

// Runs the batch and writes its keys and values into the cache. Returns the hidden states after
// the final norm, fp32 [batch, hidden]. Not differentiable.
// RESOURCE_EXHAUSTED when the cache has too few pages (then nothing was run), INVALID_ARGUMENT for
// a token or a position outside the model.
absl::StatusOr<at::Tensor> ForwardTokens(const Decoder& decoder, const TokenBatch& batch,
                                         KvCache& cache);

}  // namespace unlearn

#endif  // OFFSET_MODEL_CACHED_FORWARD_H_
