#include "offset/cuda/device_stacks.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

const LoraLinear& PartOf(const LoraLayer& layer, int part) {
  switch (part) {
    case DeviceStacks::kQkv:
      return layer.qkv;
    case DeviceStacks::kAttentionOutput:
      return layer.attention_output;
    case DeviceStacks::kGateUp:
      return layer.gate_up;
    default:
      return layer.down;
  }
}

template <typename T>
at::Tensor BytesOn(const std::vector<T>& values, at::Device device) {
  return at::from_blob(const_cast<T*>(values.data()),
                       {static_cast<int64_t>(values.size() * sizeof(T))}, at::kByte)
      .to(device, /*non_blocking=*/false, /*copy=*/true);
}

}  // namespace

DeviceStacks::DeviceStacks(const ModelConfig& config, DeviceRuntime* runtime)
    : layers_(config.num_layers), runtime_(runtime) {
  table_ = at::zeros({kMaxStacks * stride() * static_cast<int64_t>(sizeof(DeviceLora))},
                     at::TensorOptions(at::kByte).device(runtime_->device()));
}

absl::Status DeviceStacks::Add(const std::shared_ptr<const LoraStack>& stack) {
  if (SlotOf(stack.get()) >= 0) return absl::OkStatus();
  size_t slot = 0;
  while (slot < slots_.size() && !slots_[slot].stack.expired()) ++slot;
  if (slot == kMaxStacks) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the GPU holds ", kMaxStacks,
                     " adapter stacks, all with streams or versions in use; retry later"));
  }
  if (slot == slots_.size()) slots_.emplace_back();
  // Whoever had the slot or this address is gone.
  for (auto it = by_stack_.begin(); it != by_stack_.end();) {
    it = it->second == static_cast<int32_t>(slot) ? by_stack_.erase(it) : std::next(it);
  }
  std::vector<at::Tensor> numbers;
  std::vector<DeviceLoraBlock> blocks;
  // Numbers before each part's A, and blocks before its own; pointers come with the memory.
  struct Place {
    int64_t a = 0;
    int64_t b = 0;
    int64_t block = 0;
  };
  std::vector<Place> places;
  std::vector<DeviceLora> entries;
  int64_t count = 0;
  const auto append = [&](const at::Tensor& part) {
    numbers.push_back(part.to(at::kFloat).contiguous().view({-1}));
    count += part.numel();
  };
  for (int64_t layer = 0; layer < layers_; ++layer) {
    for (int part = 0; part < kParts; ++part) {
      const LoraLinear& linear = PartOf(stack->layers[layer], part);
      DeviceLora entry = {};
      places.push_back({count, count, static_cast<int64_t>(blocks.size())});
      if (linear.a.defined()) {
        entry.rank = static_cast<int32_t>(linear.a.size(0));
        max_rank_ = std::max<int64_t>(max_rank_, entry.rank);
        append(linear.a);
        const int64_t b_begin = places.back().b = count;
        const at::Tensor by_rank = linear.b.t();
        for (const LoraLinear::Block& block : linear.blocks) {
          blocks.push_back({static_cast<int32_t>(block.rank_begin),
                            static_cast<int32_t>(block.rank_end),
                            static_cast<int32_t>(block.out_begin),
                            static_cast<int32_t>(block.out_end), count - b_begin});
          append(by_rank.slice(0, block.rank_begin, block.rank_end)
                     .slice(1, block.out_begin, block.out_end));
          ++entry.block_count;
        }
      }
      entries.push_back(entry);
    }
  }
  const at::Device device = runtime_->device();
  Slot taken;
  taken.stack = stack;
  taken.numbers = numbers.empty() ? at::empty({0}, at::TensorOptions(at::kFloat).device(device))
                                  : at::cat(numbers).to(device);
  taken.blocks = BytesOn(blocks, device);
  const float* const first = taken.numbers.const_data_ptr<float>();
  const auto* const first_block =
      static_cast<const DeviceLoraBlock*>(taken.blocks.const_data_ptr());
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].a = first + places[i].a;
    entries[i].b = first + places[i].b;
    entries[i].blocks = first_block + places[i].block;
  }
  const at::Tensor bytes = BytesOn(entries, device);
  table_.narrow(0, static_cast<int64_t>(slot) * bytes.numel(), bytes.numel()).copy_(bytes);
  slots_[slot] = std::move(taken);
  by_stack_[stack.get()] = static_cast<int32_t>(slot);
  return absl::OkStatus();
}

int32_t DeviceStacks::SlotOf(const LoraStack* stack) const {
  const auto it = by_stack_.find(stack);
  // An address whose stack is gone may be another's by now.
  if (it == by_stack_.end() || slots_[it->second].stack.lock().get() != stack) return -1;
  return it->second;
}

const DeviceLora* DeviceStacks::Table(int64_t layer, Part part) const {
  return static_cast<const DeviceLora*>(table_.const_data_ptr()) + layer * kParts + part;
}

int64_t DeviceStacks::BytesOf(const LoraStack* stack) const {
  const int32_t slot = SlotOf(stack);
  return slot < 0 ? 0 : slots_[slot].numbers.numel() * static_cast<int64_t>(sizeof(float));
}

}  // namespace unlearn
