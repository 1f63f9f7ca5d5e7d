#include "offset/model/model_config.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "offset/base/parse_json.h"
#include "offset/base/status_macros.h"
#include "offset/model/config_reader.h"
#include "offset/model/rope_config.h"

namespace unlearn {
namespace {

using Json = nlohmann::json;

using Activation = ModelConfig::Activation;
using WeightNames = ModelConfig::WeightNames;

// What differs between the families, beside the values in their files: transformers' defaults and
// the parts that are always there. The defaults here are llama's.
struct Family {
  const char* model_type = "llama";
  const char* architecture = "LlamaForCausalLM";
  const char* activation_field = "hidden_act";
  Activation activation = Activation::kSilu;
  bool any_activation = false;  // of those that are known; else only the family's own
  const char* norm_eps_field = "rms_norm_eps";
  double norm_eps = 1e-6;
  int64_t head_dim = 0;  // where config.json gives none; 0: hidden_size / num_attention_heads
  bool tied = false;     // where config.json does not say
  bool mlp_bias_field = false;
  bool qkv_bias = false;        // always
  bool bias_field = false;      // attention_bias decides, for all four projections
  bool attention_bias = false;  // where config.json does not say
  bool query_key_norm = false;
  WeightNames weight_names = WeightNames::kLlama;
  bool gemma = false;  // norms of 1 + w, also after attention and MLP; scaled embedding; two ropes
  bool neox = false;   // LayerNorm, a plain MLP with biases, heads all alike
  enum Window { kNone, kOfModel, kOfLateLayers, kOfMostLayers } window = kNone;
  int64_t default_window = 4096;  // where the field is absent; null is none
};

constexpr Family Llama() {
  Family family;
  family.bias_field = true;
  family.mlp_bias_field = true;
  return family;
}

constexpr Family Mistral() {
  Family family;
  family.model_type = "mistral";
  family.architecture = "MistralForCausalLM";
  family.window = Family::kOfModel;
  return family;
}

constexpr Family Qwen2() {
  Family family;
  family.model_type = "qwen2";
  family.architecture = "Qwen2ForCausalLM";
  family.qkv_bias = true;
  family.window = Family::kOfLateLayers;
  return family;
}

constexpr Family Qwen3() {
  Family family;
  family.model_type = "qwen3";
  family.architecture = "Qwen3ForCausalLM";
  family.head_dim = 128;
  family.bias_field = true;
  family.query_key_norm = true;
  family.window = Family::kOfLateLayers;
  return family;
}

constexpr Family Phi3() {
  Family family;
  family.model_type = "phi3";
  family.architecture = "Phi3ForCausalLM";
  family.norm_eps = 1e-5;
  family.weight_names = WeightNames::kPhi3;
  family.window = Family::kOfModel;
  family.default_window = 0;
  return family;
}

constexpr Family Gemma3() {
  Family family;
  family.model_type = "gemma3_text";
  family.architecture = "Gemma3ForCausalLM";
  family.activation_field = "hidden_activation";
  family.activation = Activation::kGeluTanh;
  family.head_dim = 256;
  family.tied = true;
  family.bias_field = true;
  family.query_key_norm = true;
  family.gemma = true;
  family.window = Family::kOfMostLayers;
  return family;
}

constexpr Family GptNeoX() {
  Family family;
  family.model_type = "gpt_neox";
  family.architecture = "GPTNeoXForCausalLM";
  family.activation = Activation::kGelu;
  family.any_activation = true;
  family.norm_eps_field = "layer_norm_eps";
  family.norm_eps = 1e-5;
  family.bias_field = true;
  family.attention_bias = true;
  family.weight_names = WeightNames::kGptNeoX;
  family.neox = true;
  return family;
}

constexpr Family kFamilies[] = {Llama(), Mistral(), Qwen2(), Qwen3(), Phi3(), Gemma3(), GptNeoX()};

// transformers' names of one function each; the first of a function is the one that is written.
constexpr struct {
  const char* name;
  Activation activation;
} kActivations[] = {{"silu", Activation::kSilu},
                    {"swish", Activation::kSilu},
                    {"gelu", Activation::kGelu},
                    {"gelu_python", Activation::kGelu},
                    {"gelu_pytorch_tanh", Activation::kGeluTanh},
                    {"gelu_python_tanh", Activation::kGeluTanh},
                    {"gelu_new", Activation::kGeluTanh},
                    {"gelu_fast", Activation::kGeluTanh}};

constexpr int64_t kDefaultFullLayers = 28;    // of qwen: the first ones see everything
constexpr int64_t kDefaultWindowPattern = 6;  // of gemma: every sixth layer sees everything

absl::StatusOr<const Family*> FindFamily(ConfigReader& reader) {
  if (!reader.Has("model_type")) return reader.Error("model_type", "is missing");
  std::vector<Json> types;
  for (const Family& family : kFamilies) types.push_back(family.model_type);
  RETURN_IF_ERROR(reader.Only("model_type", types));
  for (const Family& family : kFamilies) {
    if (reader.Get("model_type") == family.model_type) return &family;
  }
  return reader.Error("model_type", "is unknown");  // not reached
}

// Where layer_types stands, it says which layers have the window.
absl::Status ReadLayerTypes(ConfigReader& reader, bool window_in_use, ModelConfig& config) {
  const Json& types = reader.Get("layer_types");
  if (types.is_null()) return absl::OkStatus();
  if (!types.is_array() || types.size() != static_cast<size_t>(config.num_layers)) {
    return reader.Error("layer_types", "is no list of num_hidden_layers entries");
  }
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const bool sliding = types[i] == "sliding_attention";
    if (!sliding && types[i] != "full_attention") {
      return reader.Error(absl::StrCat("layer_types[", i, "]"),
                          "is neither full_attention nor sliding_attention");
    }
    if (sliding && !window_in_use) {
      return reader.Error(absl::StrCat("layer_types[", i, "]"),
                          "is sliding_attention, but there is no sliding_window in use");
    }
    config.sliding_layers[i] = sliding;
  }
  return absl::OkStatus();
}

// Which layers attend to a window only.
absl::Status ReadWindow(ConfigReader& reader, const Family& family, ModelConfig& config) {
  if (family.window == Family::kNone) return absl::OkStatus();
  ASSIGN_OR_RETURN(int64_t window,
                   reader.IntegerOr("sliding_window", 1, int64_t{1} << 40,
                                    reader.Contains("sliding_window") ? 0 : family.default_window));
  int64_t first = 0;
  int64_t pattern = 0;
  if (family.window == Family::kOfLateLayers) {
    ASSIGN_OR_RETURN(const bool use, reader.BoolOr("use_sliding_window", false));
    if (!use) window = 0;
    ASSIGN_OR_RETURN(first, reader.IntegerOr("max_window_layers", 0, 1 << 20, kDefaultFullLayers));
  } else if (family.window == Family::kOfMostLayers) {
    if (window == 0) return reader.Error("sliding_window", "is null; this family has one");
    ASSIGN_OR_RETURN(pattern,
                     reader.IntegerOr("sliding_window_pattern", 1, 1 << 20, kDefaultWindowPattern));
    ASSIGN_OR_RETURN(pattern, reader.IntegerOr("_sliding_window_pattern", 1, 1 << 20, pattern));
  }
  config.sliding_layers.resize(config.num_layers);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    config.sliding_layers[i] = window > 0 && i >= first && (pattern == 0 || (i + 1) % pattern != 0);
  }
  if (family.window != Family::kOfModel) {
    RETURN_IF_ERROR(ReadLayerTypes(reader, window > 0, config));
  }
  for (const bool sliding : config.sliding_layers) {
    if (sliding) config.sliding_window = window;
  }
  if (config.sliding_window == 0) config.sliding_layers.clear();
  return absl::OkStatus();
}

absl::Status ReadGemma(ConfigReader& reader, ModelConfig& config) {
  config.norm_offset = 1;
  config.output_norms = true;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  ASSIGN_OR_RETURN(const double scalar, reader.PositiveOr("query_pre_attn_scalar", 256));
  config.attention_scale = 1 / std::sqrt(scalar);
  RETURN_IF_ERROR(reader.Only("use_bidirectional_attention", {false}));
  return absl::OkStatus();
}

// gpt_neox knows neither grouped heads nor heads of another size, and derives both.
absl::Status ReadNeoX(ConfigReader& reader, ModelConfig& config) {
  if (config.hidden_size % config.num_heads != 0) {
    return reader.Error("num_attention_heads", "does not divide hidden_size");
  }
  RETURN_IF_ERROR(reader.Only("num_key_value_heads", {config.num_heads}));
  RETURN_IF_ERROR(reader.Only("head_dim", {config.hidden_size / config.num_heads}));
  config.layer_norm = true;
  config.gated_mlp = false;
  config.mlp_bias = true;
  ASSIGN_OR_RETURN(config.parallel_residual, reader.BoolOr("use_parallel_residual", true));
  for (const char* field : {"hidden_dropout", "classifier_dropout", "is_decoder"}) {
    reader.Ignore(field);
  }
  return absl::OkStatus();
}

absl::Status ReadActivation(ConfigReader& reader, const Family& family, ModelConfig& config) {
  config.activation = family.activation;
  std::vector<Json> known;
  for (const auto& [name, activation] : kActivations) {
    if (!family.any_activation && activation != family.activation) continue;
    known.push_back(name);
    if (reader.Get(family.activation_field) == name) config.activation = activation;
  }
  return reader.Only(family.activation_field, known);
}

const char* ActivationName(Activation activation) {
  for (const auto& [name, same] : kActivations) {
    if (same == activation) return name;
  }
  return "";
}

// The scalar whose inverse root is `scale`: the inverse square may be the number beside it.
double QueryScalar(double scale) {
  const double square = 1 / (scale * scale);
  double below = square;
  double above = square;
  for (int i = 0; i < 4; ++i) {
    if (1 / std::sqrt(below) == scale) return below;
    if (1 / std::sqrt(above) == scale) return above;
    below = std::nextafter(below, 0);
    above = std::nextafter(above, HUGE_VAL);
  }
  return square;
}

const Family& FamilyOf(const ModelConfig& config) {
  for (const Family& family : kFamilies) {
    if (config.model_type == family.model_type) return family;
  }
  return kFamilies[0];
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view text, const std::string& origin) {
  const absl::StatusOr<Json> parsed = ParseJson(text);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": ", parsed.status().message()));
  }
  const Json& json = *parsed;
  if (!json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": is no JSON object"));
  }
  ConfigReader reader(json, origin);
  ASSIGN_OR_RETURN(const Family* const found, FindFamily(reader));
  const Family& family = *found;
  ModelConfig config;
  config.model_type = family.model_type;
  ASSIGN_OR_RETURN(config.vocab_size, reader.Integer("vocab_size", 1, 1 << 24));
  ASSIGN_OR_RETURN(config.hidden_size, reader.Integer("hidden_size", 1, 1 << 20));
  ASSIGN_OR_RETURN(config.intermediate_size, reader.Integer("intermediate_size", 1, 1 << 22));
  ASSIGN_OR_RETURN(config.num_layers, reader.Integer("num_hidden_layers", 1, 1024));
  ASSIGN_OR_RETURN(config.num_heads, reader.Integer("num_attention_heads", 1, 4096));
  ASSIGN_OR_RETURN(config.num_kv_heads,
                   reader.IntegerOr("num_key_value_heads", 1, 4096, config.num_heads));
  if (config.num_heads % config.num_kv_heads != 0) {
    return reader.Error("num_key_value_heads", "does not divide num_attention_heads");
  }
  ASSIGN_OR_RETURN(config.head_dim,
                   reader.IntegerOr("head_dim", 2, 4096,
                                    family.head_dim > 0 ? family.head_dim
                                                        : config.hidden_size / config.num_heads));
  if (config.head_dim < 1) {
    return reader.Error("num_attention_heads",
                        absl::StrCat(config.num_heads, " exceeds hidden_size ", config.hidden_size,
                                     ", and there is no head_dim"));
  }
  if (config.head_dim % 2 != 0) {
    return reader.Error(
        "head_dim",
        absl::StrCat(config.head_dim, " is no even number: rotary positions turn pairs"));
  }
  ASSIGN_OR_RETURN(config.max_positions,
                   reader.IntegerOr("max_position_embeddings", 1, 1 << 26, 2048));
  ASSIGN_OR_RETURN(config.norm_eps, reader.PositiveOr(family.norm_eps_field, family.norm_eps));
  ASSIGN_OR_RETURN(config.tie_word_embeddings, reader.BoolOr("tie_word_embeddings", family.tied));
  if (family.gemma) RETURN_IF_ERROR(ReadGemma(reader, config));
  if (family.neox) RETURN_IF_ERROR(ReadNeoX(reader, config));
  RETURN_IF_ERROR(ReadRopeConfig(reader, config));
  RETURN_IF_ERROR(ReadWindow(reader, family, config));
  config.query_key_norm = family.query_key_norm;
  config.weight_names = family.weight_names;
  config.qkv_bias = family.qkv_bias;
  if (family.bias_field) {
    ASSIGN_OR_RETURN(config.qkv_bias, reader.BoolOr("attention_bias", family.attention_bias));
    config.attention_output_bias = config.qkv_bias;
  }
  if (family.mlp_bias_field) {
    ASSIGN_OR_RETURN(config.mlp_bias, reader.BoolOr("mlp_bias", false));
  }
  RETURN_IF_ERROR(ReadActivation(reader, family, config));
  RETURN_IF_ERROR(reader.Only("mlp_bias", {config.mlp_bias}));
  RETURN_IF_ERROR(reader.Only("pretraining_tp", {1}));
  if (config.weight_names ==
      WeightNames::kPhi3) {  // phi3: dropout, and a length that only longrope reads
    for (const char* field : {"resid_pdrop", "embd_pdrop", "original_max_position_embeddings"}) {
      reader.Ignore(field);
    }
  }
  ASSIGN_OR_RETURN(config.bos_token_ids, reader.Ids("bos_token_id", config.vocab_size));
  ASSIGN_OR_RETURN(config.eos_token_ids, reader.Ids("eos_token_id", config.vocab_size));
  RETURN_IF_ERROR(reader.RefuseUnknown());
  return config;
}

std::string ModelConfigToJson(const ModelConfig& config, absl::string_view dtype) {
  const Family& family = FamilyOf(config);
  Json json = {
      {"architectures", {family.architecture}},
      {"model_type", family.model_type},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_layers},
      {"num_attention_heads", config.num_heads},
      {"max_position_embeddings", config.max_positions},
      {family.norm_eps_field, config.norm_eps},
      {"rope_parameters", RopeConfigToJson(config)},
      {"tie_word_embeddings", config.tie_word_embeddings},
      {family.activation_field, ActivationName(config.activation)},
      {"dtype", std::string(dtype)},
  };
  if (family.bias_field) json["attention_bias"] = config.qkv_bias;
  if (family.mlp_bias_field) json["mlp_bias"] = config.mlp_bias;
  if (family.neox) {
    json["use_parallel_residual"] = config.parallel_residual;
  } else {
    json["num_key_value_heads"] = config.num_kv_heads;
    json["head_dim"] = config.head_dim;
  }
  if (family.gemma) {
    json["query_pre_attn_scalar"] = QueryScalar(config.attention_scale);
  }
  if (family.window != Family::kNone) {
    json["sliding_window"] =
        config.sliding_window > 0 ? Json(config.sliding_window) : Json(nullptr);
  }
  if (family.window == Family::kOfLateLayers) {
    json["use_sliding_window"] = config.sliding_window > 0;
  }
  if (family.window == Family::kOfLateLayers || family.window == Family::kOfMostLayers) {
    json["layer_types"] = Json::array();
    for (int64_t i = 0; i < config.num_layers; ++i) {
      json["layer_types"].push_back(config.WindowOf(i) > 0 ? "sliding_attention"
                                                           : "full_attention");
    }
  }
  if (!config.bos_token_ids.empty()) json["bos_token_id"] = config.bos_token_ids[0];
  if (config.eos_token_ids.size() == 1) json["eos_token_id"] = config.eos_token_ids[0];
  if (config.eos_token_ids.size() > 1) json["eos_token_id"] = config.eos_token_ids;
  return json.dump(2) + "\n";
}

}  // namespace unlearn
