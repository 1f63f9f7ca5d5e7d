#ifndef OFFSET_MODEL_MODEL_CONFIG_H_
#define OFFSET_MODEL_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// How rotary position embeddings stretch to longer contexts; the names are transformers'.
struct RopeScaling {
  enum class Kind { kDefault, kLinear, kLlama3 };
  Kind kind = Kind::kDefault;
  double factor = 1.0;
  // llama3 only.
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position_embeddings = 0;
};

// What a decoder of the Llama family needs from an HF config.json.
struct ModelConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;  // the context: prompt and completion together, in tokens
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;
  std::vector<int32_t> bos_token_ids;  // empty or one id
  std::vector<int32_t> eos_token_ids;  // any of them ends a completion

  // Rows of the fused query/key/value projection.
  int64_t qkv_size() const { return (num_heads + 2 * num_kv_heads) * head_dim; }
};

// Reads config.json in both spellings (rope_theta + rope_scaling, or rope_parameters). A field that
// is not known, or whose value would change the result in a way this decoder does not compute, is
// refused by name. `origin` is the path for error messages.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json, const std::string& origin);

// The same as config.json text, in the newer spelling.
std::string ModelConfigToJson(const ModelConfig& config, absl::string_view dtype);

}  // namespace unlearn

#endif  // OFFSET_MODEL_MODEL_CONFIG_H_
