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
#include "offset/combine/token_drawer.h"
#include "offset/cuda/device_runtime.h"
#include "offset/pair/ensemble_drawer.h"

namespace unlearn {

struct DeviceDraw;

// Combines, samples and scores on the device, so that neither delta nor the ensemble leaves it. M's
// rows come through pinned memory, beside the pair's step, as soon as M has given them. Where a row
// is no good, the CPU's Combine is asked what is wrong with it; top-k and top-p run on the CPU too.
class DeviceDrawer final : public EnsembleDrawer {
 public:
  // Borrows the runtime. `tokens`: ids that can be drawn; `vocab`: columns of delta, at least as
  // many. RESOURCE_EXHAUSTED without memory.
  static absl::StatusOr<std::unique_ptr<DeviceDrawer>> Make(DeviceRuntime* runtime, int64_t tokens,
                                                            int64_t vocab, int slots);
  ~DeviceDrawer() override;

  absl::Status Stage(absl::Span<const int> slots, std::vector<float> rows) override {
    return StageRows(slots, rows);
  }
  // The same for rows that the caller keeps: they are copied.
  absl::Status StageRows(absl::Span<const int> slots, absl::Span<const float> rows)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Queued.
  absl::Status KeepDeltas(const at::Tensor& deltas, absl::Span<const int> slots) override;
  absl::Status KeepReferences(const at::Tensor& references, absl::Span<const int> slots) override;
  absl::Status KeepZeroDeltas(absl::Span<const int> slots) override;
  // Waits for the device, once.
  absl::Status Draw(absl::Span<const Request> requests, Use use) override;

 private:
  DeviceDrawer(DeviceRuntime* runtime, int64_t tokens, int64_t vocab, int slots);
  // Queues the copy of the first `columns` of rows to the slots of `to`, [slots, columns].
  absl::Status KeepRows(const char* what, const at::Tensor& rows, absl::Span<const int> slots,
                        at::Tensor& to, int64_t columns);
  // What the kernel must know of the request.
  absl::Status Prepare(const Request& request, DeviceDraw& draw) const;
  // On the CPU, of the row'th draw.
  absl::Status ErrorOf(const Request& request, int32_t errors);
  absl::StatusOr<SampledToken> DrawOnCpu(const Request& request, int64_t row);

  DeviceRuntime* const runtime_;
  const int64_t tokens_;
  const int64_t vocab_;
  const int slots_;
  absl::Mutex mutex_;       // of uploads
  at::Tensor pinned_rows_;  // [slots, tokens]; a slot's row belongs to who stages it
  at::Tensor model_;        // [slots, tokens]
  at::Tensor delta_;        // [slots, vocab]
  at::Tensor ensemble_;     // [slots, tokens]
  at::Tensor parts_;        // of DrawTokens
  at::Tensor draws_;
  at::Tensor drawn_;
  at::Tensor pinned_;  // for requests and tokens
  TokenDrawer cpu_drawer_;
  const std::vector<float> zeros_;  // [tokens]
};

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_DRAWER_H_
