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
#include "offset/model/decoder_weights.h"
#include "offset/model/lora.h"
#include "offset/model/model_config.h"
#include "offset/model/rope.h"

namespace unlearn {

// A decoder: norms, rotary positions, grouped-query attention, an MLP, and what families add.
// Matrices are fp32 or bf16; norms, the residual stream and logits are fp32. Immutable and
// thread-safe unless its parameters are trained.
class Decoder {
 public:
  // `dtype` is that of the matrices in memory: at::kFloat or at::kBFloat16.
  static absl::StatusOr<std::unique_ptr<Decoder>> Load(const Checkpoint& checkpoint,
                                                       at::ScalarType dtype);
  // Random weights for training from scratch.
  static std::unique_ptr<Decoder> Init(const ModelConfig& config, uint64_t seed);

  const ModelConfig& config() const { return config_; }
  // Of one layer: those with a sliding window may have a rope of their own.
  const RopeTable& rope(int64_t layer) const {
    return local_rope_.half > 0 && config_.WindowOf(layer) > 0 ? local_rope_ : rope_;
  }
  const std::vector<DecoderLayerWeights>& layers() const { return weights_.layers; }
  const at::Tensor& embedding() const { return weights_.embedding; }              // [vocab, hidden]
  const at::Tensor& final_norm() const { return weights_.final_norm; }            // [hidden]
  const at::Tensor& final_norm_bias() const { return weights_.final_norm_bias; }  // or undefined
  const at::Tensor& head() const { return weights_.head; }                        // [vocab, hidden]

  // The training forward: whole sequences, right-padded, no cache, differentiable with respect to
  // weights and LoRA. tokens: int64 [batch, length]; returns the hidden states after the final
  // norm, [batch, length, hidden]. Causality keeps padding from reaching the tokens before it.
  at::Tensor Forward(const at::Tensor& tokens, const LoraStack& lora) const;

  // Logits of hidden states: [..., hidden] -> [..., vocab], fp32.
  at::Tensor Logits(const at::Tensor& hidden) const;

  // What the files hold: HF's names and order of rows, tied heads left out.
  std::map<std::string, at::Tensor> NamedWeights() const {
    return NamedDecoderWeights(config_, weights_);
  }
  // The tensors an optimiser updates, as they are held here.
  std::vector<at::Tensor> Parameters() const { return DecoderParameters(config_, weights_); }

 private:
  Decoder(const ModelConfig& config, DecoderWeights weights);
  at::Tensor Attend(const at::Tensor& normed, int64_t index, const LoraLayer* added) const;
  at::Tensor Mlp(const at::Tensor& normed, int64_t index, const LoraLayer* added) const;

  const ModelConfig config_;
  const DecoderWeights weights_;
  RopeTable rope_;
  at::Tensor rope_cosine_;  // [positions, rotary_size / 2]
  at::Tensor rope_sine_;
  RopeTable local_rope_;  // empty where all layers share one
  at::Tensor local_rope_cosine_;
  at::Tensor local_rope_sine_;
};

}  // namespace unlearn

#endif  // OFFSET_MODEL_DECODER_H_
