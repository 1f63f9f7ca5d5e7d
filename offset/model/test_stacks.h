#ifndef OFFSET_MODEL_TEST_STACKS_H_
#define OFFSET_MODEL_TEST_STACKS_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "offset/model/lora.h"

namespace unlearn {

// An adapter as training leaves it: B is not zero but normal with this deviation. For tests only.
inline LoraAdapter TestAdapter(const ModelConfig& model, const LoraConfig& lora, uint64_t seed,
                               double deviation) {
  LoraAdapter adapter = LoraAdapter::Init(model, lora, seed);
  at::manual_seed(seed);
  for (auto& [name, tensor] : adapter.tensors()) {
    if (absl::StrContains(name, "lora_B")) tensor = at::randn_like(tensor) * deviation;
  }
  return adapter;
}

inline std::shared_ptr<const LoraStack> FuseTestAdapters(const ModelConfig& model,
                                                         const std::vector<LoraAdapter>& adapters) {
  std::vector<const LoraAdapter*> pointers;
  for (const LoraAdapter& adapter : adapters) pointers.push_back(&adapter);
  return std::make_shared<const LoraStack>(FuseAdapters(model, pointers));
}

// A stack of adapters of these seeds and of several ranks.
inline std::shared_ptr<const LoraStack> TestStack(const ModelConfig& model,
                                                  const std::vector<uint64_t>& seeds) {
  std::vector<LoraAdapter> adapters;
  for (const uint64_t seed : seeds) {
    adapters.push_back(TestAdapter(model, {2 + static_cast<int64_t>(seed % 3), 4}, seed, 0.2));
  }
  return FuseTestAdapters(model, adapters);
}

}  // namespace unlearn

#endif  // OFFSET_MODEL_TEST_STACKS_H_
