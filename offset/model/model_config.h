#ifndef OFFSET_MODEL_MODEL_CONFIG_H_
#define OFFSET_MODEL_MODEL_CONFIG_H_

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// How rotary position embeddings stretch to longer contexts; the names are transformers'.
struct RopeScaling {
  enum class Kind { kDefault, kLinear, kLlama3, kYarn };
  Kind kind = Kind::kDefault;
  double factor = 1.0;
  // llama3 only.
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  // llama3 and yarn.
  int64_t original_max_position_embeddings = 0;
  // yarn only.
  double beta_fast = 32;
  double beta_slow = 1;
  double attention_factor = 1;  // cosines and sines are multiplied by it
  bool truncate = true;         // the bounds of the blend to whole dimensions
};

// What a decoder needs from an HF config.json: Llama, and families that differ from it in few
// parts.
struct ModelConfig {
  // The MLP's, of its gate where it has one.
  enum class Activation { kSilu, kGelu, kGeluTanh };  // kGelu: exact, with erf
  // How the files name the weights. phi3 has them fused; gpt_neox also orders rows by head.
  enum class WeightNames { kLlama, kPhi3, kGptNeoX };

  std::string model_type = "llama";  // the table of families is in model_config.cc
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;  // the context: prompt and completion together, in tokens
  double norm_eps = 1e-6;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  int64_t rotary_dim = 0;       // of each head, the first ones are rotated; 0: all
  double local_rope_theta = 0;  // gemma3: of the layers with a window, without scaling; 0: the same
  bool tie_word_embeddings = false;
  // gemma3 only: norms multiply by 1 + w, two more of them stand after attention and MLP,
  // embeddings are scaled.
  double norm_offset = 0;
  bool output_norms = false;
  double embedding_scale = 1;
  // gpt_neox only: LayerNorm with a bias instead of RMSNorm; the MLP reads what attention reads,
  // and its output is added beside attention's.
  bool layer_norm = false;
  bool parallel_residual = false;
  Activation activation = Activation::kSilu;
  bool gated_mlp = true;       // down(activation(gate) * up); else down(activation(up))
  double attention_scale = 0;  // of query · key; 0: 1 / sqrt(head_dim)
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool query_key_norm = false;  // RMSNorm over each head of queries and keys, before they turn
  WeightNames weight_names = WeightNames::kLlama;
  int64_t sliding_window = 0;          // positions a token sees, itself included; 0: all
  std::vector<bool> sliding_layers;    // which layers have it; empty: none
  std::vector<int32_t> bos_token_ids;  // empty or one id
  std::vector<int32_t> eos_token_ids;  // any of them ends a completion

  double AttentionScale() const {
    return attention_scale > 0 ? attention_scale : 1 / std::sqrt(static_cast<double>(head_dim));
  }
  int64_t rotary_size() const { return rotary_dim > 0 ? rotary_dim : head_dim; }
  // Positions that a token of this layer sees, itself included; 0: all.
  int64_t WindowOf(int64_t layer) const {
    return !sliding_layers.empty() && sliding_layers[layer] ? sliding_window : 0;
  }
  // Rows of the fused query/key/value projection, and of that which gives [gate; up].
  int64_t qkv_size() const { return (num_heads + 2 * num_kv_heads) * head_dim; }
  int64_t gate_up_size() const { return (gated_mlp ? 2 : 1) * intermediate_size; }
};

// Reads config.json in both spellings (rope_theta + rope_scaling, or rope_parameters). A field that
// is not known, or whose value would change the result in a way this decoder does not compute, is
// refused by name. `origin` is the path for error messages.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json, const std::string& origin);

// The same as config.json text, in the newer spelling.
std::string ModelConfigToJson(const ModelConfig& config, absl::string_view dtype);

}  // namespace unlearn

#endif  // OFFSET_MODEL_MODEL_CONFIG_H_
