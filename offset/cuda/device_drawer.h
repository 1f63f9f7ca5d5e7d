#ifndef OFFSET_CUDA_DEVICE_DRAWER_H_
#define OFFSET_CUDA_DEVICE_DRAWER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "offset/combine/sampler.h"
#include "offset/cuda/device_runtime.h"

namespace unlearn {

// Combines, samples and scores on the device, so that neither delta nor the ensemble leaves it. M's
// rows come through pinned memory, beside the pair's step, as soon as M has given them. A slot
// holds what one stream's next token is drawn from: M's row and delta.
//
// Stage may be called from any thread, all else from the thread that owns the pair. A slot's row
// stays until its token is drawn: it may not be staged again before Draw has returned.
class DeviceDrawer {
 public:
  struct Request {
    int slot = 0;
    double alpha = 1;
    SamplingOptions options;
    NoiseKey key;
  };

  // Borrows the runtime. `tokens`: ids that can be drawn; `vocab`: columns of delta, at least as
  // many. RESOURCE_EXHAUSTED without memory.
  static absl::StatusOr<std::unique_ptr<DeviceDrawer>> Make(DeviceRuntime* runtime, int64_t tokens,
                                                            int64_t vocab, int slots);

  // Begins to upload M's logits of one token: the first `tokens` of the row count.
  // INVALID_ARGUMENT for a slot that is not there or a row that is too short.
  absl::Status Stage(int slot, absl::Span<const float> row) ABSL_LOCKS_EXCLUDED(mutex_);

  // Keeps rows of DevicePairBackend::QueueDeltas, the first for slots[0] and so on; queued.
  absl::Status KeepDeltas(const at::Tensor& deltas, absl::Span<const int> slots);

  // One token each: FAILED_PRECONDITION in its place where M's row or delta is not finite or leaves
  // no token, as Combine has it. Waits. An error of the whole call is the device's.
  absl::StatusOr<std::vector<absl::StatusOr<SampledToken>>> Draw(
      absl::Span<const Request> requests);

 private:
  DeviceDrawer(DeviceRuntime* runtime, int64_t tokens, int64_t vocab, int slots);
  absl::Status CheckSlot(int slot) const;

  DeviceRuntime* const runtime_;
  const int64_t tokens_;
  const int64_t vocab_;
  const int slots_;
  absl::Mutex mutex_;
  at::Tensor pinned_rows_;  // [slots, tokens]; a slot's row belongs to who stages it
  at::Tensor model_;        // [slots, tokens]
  at::Tensor delta_;        // [slots, vocab]
  at::Tensor ensemble_;     // [slots, tokens]
  at::Tensor parts_;        // of DrawTokens
  at::Tensor draws_;
  at::Tensor drawn_;
  at::Tensor pinned_;  // for requests and tokens
};

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_DRAWER_H_
