#ifndef OFFSET_CUDA_DEVICE_PAIR_BACKEND_H_
#define OFFSET_CUDA_DEVICE_PAIR_BACKEND_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "offset/cuda/device_batch.h"
#include "offset/cuda/device_runtime.h"
#include "offset/cuda/device_stacks.h"
#include "offset/cuda/device_weights.h"
#include "offset/pair/pair_backend.h"

namespace unlearn {

class DevicePages;

// The pair on a device: weights, keys, values and what enters products in bf16 (or fp32), sums,
// norms, residual stream and LoRA in fp32. delta is the product of the fp32 difference: in bf16 it
// is split into two rows that add up to it, so that rounding does not eat what is small.
//
// Batches of up to graph_rows rows are replayed as CUDA graphs, one for each power of two of rows;
// which streams, positions and stacks they are is data. They are captured by Warm.
//
// What the CPU holds to the last bit holds here up to rounding: the library's product of a row may
// sum in another order when the batch has another size.
class DevicePairBackend final : public PairBackend {
 public:
  struct Options {
    int64_t kv_cache_tokens = 0;  // positions over all sequences
    at::ScalarType dtype = at::kBFloat16;
    int64_t graph_rows = 128;
  };

  // RESOURCE_EXHAUSTED when the device's memory does not suffice; UNIMPLEMENTED for a model that
  // the kernels do not take.
  static absl::StatusOr<std::unique_ptr<DevicePairBackend>> Make(
      std::unique_ptr<DeviceRuntime> runtime, const Decoder& base, const Options& options);
  ~DevicePairBackend() override;

  const ModelConfig& config() const override { return config_; }
  KvPages& pages() override;
  absl::Status AddStack(const std::shared_ptr<const LoraStack>& stack) override;
  bool needs_warming() const override { return true; }
  absl::Status Warm(const std::shared_ptr<const LoraStack>& stack) override;
  absl::StatusOr<at::Tensor> Differences(const TokenBatch& batch,
                                         absl::Span<const RowPair> wanted) override;
  absl::StatusOr<at::Tensor> Deltas(const TokenBatch& batch,
                                    absl::Span<const RowPair> wanted) override;

  // On the device, not waited for, valid until the next batch.
  absl::StatusOr<PairRows> QueueRows(const TokenBatch& batch, absl::Span<const RowPair> wanted,
                                     absl::Span<const int64_t> drafting) override;
  // A DeviceDrawer.
  absl::StatusOr<std::unique_ptr<EnsembleDrawer>> MakeDrawer(int64_t tokens, int slots) override;

  DeviceRuntime& runtime() { return *runtime_; }
  // What a step must read at least: weights and head once, and the stack's adapters.
  int64_t BytesPerStep(const LoraStack* stack) const {
    return weights_.bytes_per_step + stacks_->BytesOf(stack);
  }
  // For comparisons: runs without graphs from here on.
  void set_use_graphs(bool use) { use_graphs_ = use; }
  int64_t graph_replays() const { return graph_replays_; }

 private:
  DevicePairBackend(std::unique_ptr<DeviceRuntime> runtime, const Options& options);

  // Rows of the smallest graph that takes the batch; 0: none does.
  int64_t BucketOf(const BatchNeeds& needs) const;
  // Blocks that share the positions of a row in a batch of so many, and numbers of scratch memory
  // for batches of up to so many.
  int32_t SplitsOf(int64_t rows) const;
  int64_t ScratchFor(int64_t rows) const;
  // Queues a batch that is staged in `buffers`, or what a graph captures.
  void RunLayers(DeviceBuffers& buffers, const BatchNeeds& needs);
  void AddLoraTo(DeviceBuffers& buffers, const BatchNeeds& needs, int64_t layer,
                 DeviceStacks::Part part, const at::Tensor& x, at::Tensor& y);
  // Runs a batch up to its differences. Returns the buffers where they are and how many rows of
  // `halves` belong to them.
  struct Ran {
    DeviceBuffers* buffers;
    int64_t wanted;
  };
  absl::StatusOr<Ran> RunBatch(const TokenBatch& batch, absl::Span<const RowPair> wanted);
  at::Tensor MultiplyHead(const Ran& ran);
  // The reference's own logits, rounded as the products are.
  at::Tensor MultiplyReferences(const Ran& ran, absl::Span<const RowPair> wanted,
                                absl::Span<const int64_t> drafting);
  at::Tensor ToHost(const at::Tensor& rows);
  void CaptureGraphs();

  const Options options_;
  // Outlives all that is on the device.
  const std::unique_ptr<DeviceRuntime> runtime_;
  ModelConfig config_;
  DeviceWeights weights_;
  std::unique_ptr<DevicePages> pages_;
  std::unique_ptr<DeviceStacks> stacks_;
  int64_t rank_capacity_ = 0;             // of the buffers
  std::unique_ptr<DeviceBuffers> small_;  // of batches up to graph_rows; graphs point into it
  std::unique_ptr<DeviceBuffers> large_;  // of larger ones, grown as needed
  at::Tensor delta_;                      // grown as needed
  std::map<int64_t, std::unique_ptr<DeviceRuntime::Graph>> graphs_;  // by rows
  bool staged_unwaited_ = false;  // the pinned memory may still be read
  bool use_graphs_ = true;
  int64_t graph_replays_ = 0;
};

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_PAIR_BACKEND_H_
