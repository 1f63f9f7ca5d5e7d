#ifndef OFFSET_MODEL_LORA_H_
#define OFFSET_MODEL_LORA_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/model/model_config.h"
#include "offset/model/safetensors.h"

namespace unlearn {

// One linear layer's low-rank addition: y += (x Aᵀ) Bᵀ with the LoRA scale already in B.
// Several adapters (and several targets of a fused projection) concatenate along the rank.
struct LoraLinear {
  // Where b is not zero: rank rows [rank_begin, rank_end) add to outputs [out_begin, out_end) only.
  struct Block {
    int64_t rank_begin;
    int64_t rank_end;
    int64_t out_begin;
    int64_t out_end;
  };
  at::Tensor a;  // [rank, in]; undefined when nothing is added
  at::Tensor b;  // [out, rank], laid out by columns: b.t() is contiguous
  std::vector<Block> blocks;
};

// The additions of one layer, for the decoder's fused projections.
struct LoraLayer {
  LoraLinear qkv;
  LoraLinear attention_output;
  LoraLinear gate_up;
  LoraLinear down;
};

// A whole adapter stack, ready to run. Empty layers: the reference model, δ ≡ 0.
struct LoraStack {
  std::vector<LoraLayer> layers;
  bool empty() const { return layers.empty(); }
};

struct LoraConfig {
  int64_t rank = 16;
  double alpha = 32;  // the addition is scaled by alpha / rank
};

// One trained adapter on all linear layers of each decoder layer, under PEFT's names
// ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight").
class LoraAdapter {
 public:
  // A random (seeded), B zero: the ensemble equals M before the first step.
  static LoraAdapter Init(const ModelConfig& model, const LoraConfig& config, uint64_t seed);

  // INVALID_ARGUMENT when a tensor is missing, has another shape, or is not finite.
  static absl::StatusOr<LoraAdapter> Load(const SafetensorsFile& file, const ModelConfig& model);
  std::string Serialize() const;  // fp32: an adapter rounded to bf16 loses part of δ

  const LoraConfig& config() const { return config_; }
  const std::map<std::string, at::Tensor>& tensors() const { return tensors_; }
  std::map<std::string, at::Tensor>& tensors() { return tensors_; }

 private:
  LoraConfig config_;
  std::map<std::string, at::Tensor> tensors_;
};

// Concatenates adapters into one stack. Differentiable with respect to their tensors.
LoraStack FuseAdapters(const ModelConfig& model, absl::Span<const LoraAdapter* const> adapters);

}  // namespace unlearn

#endif  // OFFSET_MODEL_LORA_H_
