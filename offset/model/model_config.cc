#include "offset/model/model_config.h"

#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

using Json = nlohmann::json;

// Fields that say nothing about the function the weights compute at inference.
const std::set<std::string>& NeutralFields() {
  static const auto* fields = new std::set<std::string>{"architectures",
                                                        "dtype",
                                                        "torch_dtype",
                                                        "transformers_version",
                                                        "pad_token_id",
                                                        "use_cache",
                                                        "initializer_range",
                                                        "attention_dropout",
                                                        "_name_or_path",
                                                        "return_dict",
                                                        "output_hidden_states",
                                                        "output_attentions",
                                                        "chunk_size_feed_forward",
                                                        "is_encoder_decoder",
                                                        "id2label",
                                                        "label2id",
                                                        "problem_type",
                                                        "torchscript",
                                                        "_attn_implementation_autoset",
                                                        "unlearn_training_data",
                                                        "name_or_path",
                                                        "quantization_config_note",
                                                        "sep_token_id",
                                                        "decoder_start_token_id",
                                                        "task_specific_params",
                                                        "unk_token_id"};
  return *fields;
}

// One config.json with its path, so that each error names file and field.
class Reader {
 public:
  Reader(const Json& json, std::string origin) : json_(json), origin_(std::move(origin)) {}

  absl::Status Error(absl::string_view field, absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(origin_, ": $.", field, ": ", message));
  }

  absl::StatusOr<int64_t> Integer(const std::string& field, int64_t low, int64_t high) {
    seen_.insert(field);
    const auto it = json_.find(field);
    if (it == json_.end()) return Error(field, "is missing");
    if (!it->is_number_integer()) return Error(field, "is not a whole number");
    const int64_t value = it->get<int64_t>();
    if (value < low || value > high) {
      return Error(field, absl::StrCat(value, " is not between ", low, " and ", high));
    }
    return value;
  }

  absl::StatusOr<int64_t> IntegerOr(const std::string& field, int64_t low, int64_t high,
                                    int64_t otherwise) {
    seen_.insert(field);
    if (!Has(field)) return otherwise;
    return Integer(field, low, high);
  }

  absl::StatusOr<double> PositiveOr(const std::string& field, double otherwise) {
    seen_.insert(field);
    if (!Has(field)) return otherwise;
    return Positive(json_, field, field);
  }

  absl::StatusOr<double> Positive(const Json& parent, const std::string& field,
                                  const std::string& path) const {
    const auto it = parent.find(field);
    if (it == parent.end() || !it->is_number()) return Error(path, "is missing or no number");
    const double value = it->get<double>();
    if (!(value > 0) || !std::isfinite(value)) {
      return Error(path, absl::StrCat(value, " is not a positive number"));
    }
    return value;
  }

  absl::StatusOr<bool> BoolOr(const std::string& field, bool otherwise) {
    seen_.insert(field);
    if (!Has(field)) return otherwise;
    if (!json_[field].is_boolean()) return Error(field, "is neither true nor false");
    return json_[field].get<bool>();
  }

  // The field must be absent, null, or one of `allowed`: anything else changes the result.
  absl::Status Only(const std::string& field, const std::vector<Json>& allowed) {
    seen_.insert(field);
    if (!Has(field)) return absl::OkStatus();
    for (const Json& value : allowed) {
      if (json_[field] == value) return absl::OkStatus();
    }
    return absl::UnimplementedError(absl::StrCat(origin_, ": $.", field, ": ", json_[field].dump(),
                                                 " is not supported by this decoder"));
  }

  absl::StatusOr<std::vector<int32_t>> Ids(const std::string& field, int64_t vocab_size) {
    seen_.insert(field);
    std::vector<int32_t> ids;
    if (!Has(field)) return ids;
    const Json& value = json_[field];
    const Json list = value.is_array() ? value : Json::array({value});
    for (const Json& item : list) {
      if (!item.is_number_integer() || item.get<int64_t>() < 0 ||
          item.get<int64_t>() >= vocab_size) {
        return Error(field,
                     absl::StrCat(item.dump(), " is not a token id below vocab_size ", vocab_size));
      }
      ids.push_back(item.get<int32_t>());
    }
    return ids;
  }

  bool Has(const std::string& field) const {
    const auto it = json_.find(field);
    return it != json_.end() && !it->is_null();
  }
  // Null when it is absent.
  const Json& Get(const std::string& field) {
    static const Json* const null = new Json();
    seen_.insert(field);
    const auto it = json_.find(field);
    return it == json_.end() ? *null : *it;
  }

  absl::Status RefuseUnknown() const {
    for (const auto& item : json_.items()) {
      if (seen_.count(item.key()) || NeutralFields().count(item.key()) || item.value().is_null()) {
        continue;
      }
      return absl::UnimplementedError(
          absl::StrCat(origin_, ": $.", item.key(), ": ", item.value().dump(),
                       " is not a field this decoder knows; it could change the result"));
    }
    return absl::OkStatus();
  }

 private:
  const Json& json_;
  const std::string origin_;
  std::set<std::string> seen_;
};

absl::Status ReadRope(Reader& reader, ModelConfig& config) {
  ASSIGN_OR_RETURN(config.rope_theta, reader.PositiveOr("rope_theta", 10000.0));
  std::string field;
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const Json& value = reader.Get(name);
    if (value.is_null()) continue;
    if (!value.is_object()) return reader.Error(name, "is not an object");
    if (!field.empty()) {
      return reader.Error(name, absl::StrCat("stands beside ", field, "; keep one of them"));
    }
    field = name;
  }
  if (field.empty()) return absl::OkStatus();
  const Json& rope = reader.Get(field);
  if (rope.contains("rope_theta")) {
    ASSIGN_OR_RETURN(config.rope_theta, reader.Positive(rope, "rope_theta", field + ".rope_theta"));
  }
  std::string type = "default";
  for (const char* name : {"type", "rope_type"}) {
    if (!rope.contains(name)) continue;
    if (!rope[name].is_string()) return reader.Error(field + "." + name, "is not a string");
    type = rope[name].get<std::string>();
  }
  RopeScaling& scaling = config.rope_scaling;
  std::set<std::string> known = {"type", "rope_type", "rope_theta"};
  if (type == "default") {
    scaling.kind = RopeScaling::Kind::kDefault;
  } else if (type == "linear" || type == "llama3") {
    ASSIGN_OR_RETURN(scaling.factor, reader.Positive(rope, "factor", field + ".factor"));
    known.insert("factor");
    scaling.kind = RopeScaling::Kind::kLinear;
    if (type == "llama3") {
      scaling.kind = RopeScaling::Kind::kLlama3;
      ASSIGN_OR_RETURN(scaling.low_freq_factor,
                       reader.Positive(rope, "low_freq_factor", field + ".low_freq_factor"));
      ASSIGN_OR_RETURN(scaling.high_freq_factor,
                       reader.Positive(rope, "high_freq_factor", field + ".high_freq_factor"));
      ASSIGN_OR_RETURN(const double original,
                       reader.Positive(rope, "original_max_position_embeddings",
                                       field + ".original_max_position_embeddings"));
      scaling.original_max_position_embeddings = static_cast<int64_t>(original);
      if (scaling.high_freq_factor <= scaling.low_freq_factor) {
        return reader.Error(field + ".high_freq_factor", "must exceed low_freq_factor");
      }
      known.insert({"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"});
    }
  } else {
    return absl::UnimplementedError(reader.Error(field + ".rope_type", type).message());
  }
  for (const auto& item : rope.items()) {
    if (!known.count(item.key()) && !item.value().is_null()) {
      return absl::UnimplementedError(
          reader.Error(field + "." + item.key(), "is not known for this rope_type").message());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view text, const std::string& origin) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": is no JSON object"));
  }
  Reader reader(json, origin);
  RETURN_IF_ERROR(reader.Only("model_type", {"llama"}));
  if (!reader.Has("model_type")) return reader.Error("model_type", "is missing");
  ModelConfig config;
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
                   reader.IntegerOr("head_dim", 2, 4096, config.hidden_size / config.num_heads));
  if (config.head_dim % 2 != 0) return reader.Error("head_dim", "is odd, rotary needs pairs");
  ASSIGN_OR_RETURN(config.max_positions,
                   reader.IntegerOr("max_position_embeddings", 1, 1 << 26, 2048));
  ASSIGN_OR_RETURN(config.rms_norm_eps, reader.PositiveOr("rms_norm_eps", 1e-6));
  ASSIGN_OR_RETURN(config.tie_word_embeddings, reader.BoolOr("tie_word_embeddings", false));
  RETURN_IF_ERROR(ReadRope(reader, config));
  RETURN_IF_ERROR(reader.Only("hidden_act", {"silu"}));
  RETURN_IF_ERROR(reader.Only("attention_bias", {false}));
  RETURN_IF_ERROR(reader.Only("mlp_bias", {false}));
  RETURN_IF_ERROR(reader.Only("pretraining_tp", {1}));
  ASSIGN_OR_RETURN(config.bos_token_ids, reader.Ids("bos_token_id", config.vocab_size));
  ASSIGN_OR_RETURN(config.eos_token_ids, reader.Ids("eos_token_id", config.vocab_size));
  RETURN_IF_ERROR(reader.RefuseUnknown());
  return config;
}

std::string ModelConfigToJson(const ModelConfig& config, absl::string_view dtype) {
  Json rope = {{"rope_type", "default"}, {"rope_theta", config.rope_theta}};
  if (config.rope_scaling.kind != RopeScaling::Kind::kDefault) {
    rope["rope_type"] = "linear";
    rope["factor"] = config.rope_scaling.factor;
  }
  if (config.rope_scaling.kind == RopeScaling::Kind::kLlama3) {
    rope["rope_type"] = "llama3";
    rope["low_freq_factor"] = config.rope_scaling.low_freq_factor;
    rope["high_freq_factor"] = config.rope_scaling.high_freq_factor;
    rope["original_max_position_embeddings"] = config.rope_scaling.original_max_position_embeddings;
  }
  Json json = {
      {"architectures", {"LlamaForCausalLM"}},
      {"model_type", "llama"},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_layers},
      {"num_attention_heads", config.num_heads},
      {"num_key_value_heads", config.num_kv_heads},
      {"head_dim", config.head_dim},
      {"max_position_embeddings", config.max_positions},
      {"rms_norm_eps", config.rms_norm_eps},
      {"rope_parameters", rope},
      {"tie_word_embeddings", config.tie_word_embeddings},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"mlp_bias", false},
      {"dtype", std::string(dtype)},
  };
  if (!config.bos_token_ids.empty()) json["bos_token_id"] = config.bos_token_ids[0];
  if (config.eos_token_ids.size() == 1) json["eos_token_id"] = config.eos_token_ids[0];
  if (config.eos_token_ids.size() > 1) json["eos_token_id"] = config.eos_token_ids;
  return json.dump(2) + "\n";
}

}  // namespace unlearn
