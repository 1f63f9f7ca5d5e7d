#ifndef OFFSET_PAIR_PAIR_BACKEND_H_
#define OFFSET_PAIR_PAIR_BACKEND_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/model/cached_forward.h"
#include "offset/model/kv_pages.h"
#include "offset/model/lora.h"
#include "offset/model/model_config.h"
#include "offset/pair/ensemble_drawer.h"

namespace unlearn {

// Rows of a batch that say the same token to the reference and to the offset.
struct RowPair {
  int64_t reference = 0;
  int64_t offset = 0;
};

// Rows over the vocabulary, fp32, where the batch ran.
struct PairRows {
  at::Tensor deltas;      // [wanted, vocab]: z_o - z_r
  at::Tensor references;  // [drafting, vocab]: z_r; not defined where none were asked for
};

// Where the batches of a PairEngine run: weights, keys and values, products. Streams, pages,
// prefixes and rollback are the engine's own and the same for all. Belongs to one thread.
class PairBackend {
 public:
  virtual ~PairBackend() = default;

  virtual const ModelConfig& config() const = 0;
  // Whose sequences a batch names.
  virtual KvPages& pages() = 0;

  // Takes a stack that batches will name, as long as others hold it. Cheap where it is known.
  virtual absl::Status AddStack(const std::shared_ptr<const LoraStack>& stack) = 0;
  // Whether the first batch under a stack would wait for what Warm does. Fixed; any thread may ask.
  virtual bool needs_warming() const = 0;
  // The same as AddStack, and everything else that the first batch under it would wait for. Called
  // before a version goes live.
  virtual absl::Status Warm(const std::shared_ptr<const LoraStack>& stack) = 0;

  // Runs the batch, writing keys and values; its stacks were added before. Returns h_o - h_r of the
  // wanted rows, h being the state after the final norm: fp32 [wanted, hidden], in the CPU's
  // memory. RESOURCE_EXHAUSTED when the pages do not suffice (then nothing was run),
  // INVALID_ARGUMENT for a token or a position outside the model.
  virtual absl::StatusOr<at::Tensor> Differences(const TokenBatch& batch,
                                                 absl::Span<const RowPair> wanted) = 0;

  // The same times the shared head: delta, fp32 [wanted, vocab], in the CPU's memory.
  virtual absl::StatusOr<at::Tensor> Deltas(const TokenBatch& batch,
                                            absl::Span<const RowPair> wanted) = 0;

  // The same, left where the batch runs and perhaps not computed yet: for this backend's drawers,
  // before the next batch. With the reference's own logits of wanted[i] for each i of `drafting`;
  // what is drawn from these is checked, so they may be rounded as the backend likes.
  virtual absl::StatusOr<PairRows> QueueRows(const TokenBatch& batch,
                                             absl::Span<const RowPair> wanted,
                                             absl::Span<const int64_t> drafting) = 0;

  // Draws from the first `tokens` of the vocabulary. RESOURCE_EXHAUSTED without memory: a GPU takes
  // 12 bytes for each slot and id of the vocabulary, and 4 of the CPU's pinned memory.
  virtual absl::StatusOr<std::unique_ptr<EnsembleDrawer>> MakeDrawer(int64_t tokens, int slots) = 0;
};

}  // namespace unlearn

#endif  // OFFSET_PAIR_PAIR_BACKEND_H_
