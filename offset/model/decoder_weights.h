#ifndef OFFSET_MODEL_DECODER_WEIGHTS_H_
#define OFFSET_MODEL_DECODER_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/checkpoint.h"
#include "offset/model/model_config.h"

namespace unlearn {

// Matrices, embedding and head are fp32 or bf16; norms and biases are fp32. Norm weights are held
// as the factors they stand for (1 + w where the files hold w).
struct DecoderLayerWeights {
  at::Tensor attention_norm;    // [hidden]
  at::Tensor qkv;               // [(heads + 2 kv_heads) * head_dim, hidden]
  at::Tensor attention_output;  // [hidden, heads * head_dim]
  at::Tensor mlp_norm;          // [hidden]
  at::Tensor gate_up;           // [2 * intermediate, hidden]; without a gate [intermediate, hidden]
  at::Tensor down;              // [hidden, intermediate]
  // Undefined where the family has none.
  at::Tensor qkv_bias;               // [(heads + 2 kv_heads) * head_dim]
  at::Tensor attention_output_bias;  // [hidden]
  at::Tensor gate_up_bias;           // [2 * intermediate] or [intermediate]
  at::Tensor down_bias;              // [hidden]
  at::Tensor attention_norm_bias;    // [hidden]
  at::Tensor mlp_norm_bias;          // [hidden]
  at::Tensor attention_output_norm;  // [hidden]
  at::Tensor mlp_output_norm;        // [hidden]
  at::Tensor query_norm;             // [head_dim]
  at::Tensor key_norm;               // [head_dim]
};

struct DecoderWeights {
  at::Tensor embedding;  // [vocab, hidden]
  std::vector<DecoderLayerWeights> layers;
  at::Tensor final_norm;       // [hidden]
  at::Tensor final_norm_bias;  // [hidden], undefined where the family has none
  at::Tensor head;             // [vocab, hidden]; where tied, the embedding itself
};

// `dtype` is that of the matrices in memory: at::kFloat or at::kBFloat16. NOT_FOUND and
// INVALID_ARGUMENT name the folder and the tensor. LibTorch's exceptions pass through.
absl::StatusOr<DecoderWeights> LoadDecoderWeights(const Checkpoint& checkpoint,
                                                  at::ScalarType dtype);

// Random weights for training from scratch (normal, 0.02; residual outputs scaled by depth; norms
// and biases without effect). A function of the seed.
DecoderWeights InitDecoderWeights(const ModelConfig& config, uint64_t seed);

// All of them under HF's names and in HF's order of rows; a tied head is left out.
std::map<std::string, at::Tensor> NamedDecoderWeights(const ModelConfig& config,
                                                      const DecoderWeights& weights);

// The tensors an optimiser updates, as they are held here.
std::vector<at::Tensor> DecoderParameters(const ModelConfig& config, const DecoderWeights& weights);

}  // namespace unlearn

#endif  // OFFSET_MODEL_DECODER_WEIGHTS_H_
