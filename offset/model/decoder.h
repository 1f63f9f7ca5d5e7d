#ifndef OFFSET_MODEL_DECODER_H_
#define OFFSET_MODEL_DECODER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/checkpoint.h"
#include "offset/model/lora.h"
#include "offset/model/model_config.h"
#include "offset/model/rope.h"

namespace unlearn {

struct DecoderLayerWeights {
  at::Tensor attention_norm;    // [hidden], fp32
  at::Tensor qkv;               // [(heads + 2 kv_heads) * head_dim, hidden]
  at::Tensor attention_output;  // [hidden, heads * head_dim]
  // Undefined where the family has none; fp32.
  at::Tensor qkv_bias;               // [(heads + 2 kv_heads) * head_dim]
  at::Tensor attention_output_bias;  // [hidden]
  at::Tensor attention_output_norm;  // [hidden]
  at::Tensor mlp_output_norm;        // [hidden]
  at::Tensor query_norm;             // [head_dim]
  at::Tensor key_norm;               // [head_dim]
  at::Tensor mlp_norm;               // [hidden], fp32
  at::Tensor gate_up;                // [2 * intermediate, hidden]
  at::Tensor down;                   // [hidden, intermediate]
};

// A decoder: RMSNorm, rotary positions, grouped-query attention, gated MLP, and what families add.
// Norm weights are held as the factors they stand for (1 + w where the files hold w).
// Weights are fp32 or bf16; norms, the residual stream and logits are fp32. Immutable and
// thread-safe unless its parameters are trained.
class Decoder {
 public:
  // `dtype` is that of the matrices in memory: at::kFloat or at::kBFloat16.
  static absl::StatusOr<std::unique_ptr<Decoder>> Load(const Checkpoint& checkpoint,
                                                       at::ScalarType dtype);
  // Random weights for training from scratch (normal, 0.02; residual outputs scaled by depth).
  static std::unique_ptr<Decoder> Init(const ModelConfig& config, uint64_t seed);

  const ModelConfig& config() const { return config_; }
  // Of one layer: those with a sliding window may have a rope of their own.
  const RopeTable& rope(int64_t layer) const {
    return local_rope_.half > 0 && config_.WindowOf(layer) > 0 ? local_rope_ : rope_;
  }
  const std::vector<DecoderLayerWeights>& layers() const { return layers_; }
  const at::Tensor& embedding() const { return embedding_; }    // [vocab, hidden]
  const at::Tensor& final_norm() const { return final_norm_; }  // [hidden]
  const at::Tensor& head() const { return head_; }              // [vocab, hidden]

  // The training forward: whole sequences, right-padded, no cache, differentiable with respect to
  // weights and LoRA. tokens: int64 [batch, length]; returns the hidden states after the final
  // norm, [batch, length, hidden]. Causality keeps padding from reaching the tokens before it.
  at::Tensor Forward(const at::Tensor& tokens, const LoraStack& lora) const;

  // Logits of hidden states: [..., hidden] -> [..., vocab], fp32.
  at::Tensor Logits(const at::Tensor& hidden) const;

  // All parameters under HF's names. Fused projections are split, tied heads left out.
  std::map<std::string, at::Tensor> NamedWeights() const;
  // The tensors an optimiser updates, as they are held here.
  std::vector<at::Tensor> Parameters() const;

 private:
  Decoder() = default;
  void MakeRopes();
  ModelConfig config_;
  RopeTable rope_;
  at::Tensor rope_cosine_;  // [positions, rotary_size / 2]
  at::Tensor rope_sine_;
  RopeTable local_rope_;  // empty where all layers share one
  at::Tensor local_rope_cosine_;
  at::Tensor local_rope_sine_;
  at::Tensor embedding_;
  std::vector<DecoderLayerWeights> layers_;
  at::Tensor final_norm_;
  at::Tensor head_;
};

}  // namespace unlearn

#endif  // OFFSET_MODEL_DECODER_H_
