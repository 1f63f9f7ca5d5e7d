#ifndef OFFSET_CUDA_DEVICE_STACKS_H_
#define OFFSET_CUDA_DEVICE_STACKS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "offset/cuda/device_runtime.h"
#include "offset/cuda/kernel_math.h"
#include "offset/model/lora.h"
#include "offset/model/model_config.h"

namespace unlearn {

// Adapter stacks on a device, found by kernels through one table. The table does not move: a CUDA
// graph that was captured before a stack came serves it too, and streams under several stacks share
// one graph. fp32: an adapter rounded to bf16 loses part of delta.
class DeviceStacks {
 public:
  // Of a layer's linear parts, in the order of the table.
  enum Part { kQkv, kAttentionOutput, kGateUp, kDown, kParts };
  static constexpr int kMaxStacks = 64;

  // Borrows the runtime.
  DeviceStacks(const ModelConfig& config, DeviceRuntime* runtime);

  // Takes a stack, unless it is here. RESOURCE_EXHAUSTED when kMaxStacks are in use. LibTorch's
  // exceptions pass through.
  absl::Status Add(const std::shared_ptr<const LoraStack>& stack);
  // The number of a stack that was added, -1 of another.
  int32_t SlotOf(const LoraStack* stack) const;

  // The largest rank of any linear part of any stack so far.
  int64_t max_rank() const { return max_rank_; }
  // Stack s stands at [s * stride()].
  const DeviceLora* Table(int64_t layer, Part part) const;
  int64_t stride() const { return layers_ * kParts; }
  int64_t BytesOf(const LoraStack* stack) const;

 private:
  struct Slot {
    std::weak_ptr<const LoraStack> stack;
    at::Tensor numbers;  // all A and B
    at::Tensor blocks;
  };

  const int64_t layers_;
  DeviceRuntime* const runtime_;
  at::Tensor table_;  // bytes of DeviceLora [kMaxStacks, layers, kParts]
  std::vector<Slot> slots_;
  std::map<const LoraStack*, int32_t> by_stack_;
  int64_t max_rank_ = 0;
};

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_STACKS_H_
