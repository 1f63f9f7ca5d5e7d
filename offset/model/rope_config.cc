#include "offset/model/rope_config.h"

#include <cmath>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

constexpr double kMaxOriginalPositions = int64_t{1} << 40;

constexpr char kNeoX[] = "gpt_neox";
constexpr double kNeoXRotaryShare = 0.25;  // where config.json does not say

// Only the first part of each head is rotated; of the families here, two know this.
absl::Status SetRotaryShare(const ConfigReader& reader, const std::string& path, double share,
                            ModelConfig& config) {
  if (share == 1) return absl::OkStatus();
  if (config.model_type != "phi3" && config.model_type != kNeoX) {
    return absl::UnimplementedError(
        reader.Error(path, absl::StrCat("is not known for ", config.model_type)).message());
  }
  config.rotary_dim = share > 1 ? 0 : static_cast<int64_t>(config.head_dim * share);
  if (config.rotary_dim < 2 || config.rotary_dim % 2 != 0) {
    return reader.Error(path, absl::StrCat(share, " of head_dim ", config.head_dim,
                                           " is no even number of at least 2"));
  }
  return absl::OkStatus();
}

// The share that SetRotaryShare takes for this rotary_size, in spite of rounding.
double RotaryShare(const ModelConfig& config) {
  double share = static_cast<double>(config.rotary_size()) / config.head_dim;
  while (static_cast<int64_t>(config.head_dim * share) < config.rotary_size()) {
    share = std::nextafter(share, 2);
  }
  return share;
}

absl::Status CheckOriginalPositions(const ConfigReader& reader, const std::string& path,
                                    double positions) {
  if (positions >= 1 && positions <= kMaxOriginalPositions) return absl::OkStatus();
  return reader.Error(path, absl::StrCat(positions, " is not between 1 and ",
                                         static_cast<int64_t>(kMaxOriginalPositions)));
}

double YarnScale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

absl::Status ReadYarn(const ConfigReader& reader, const ConfigReader::Json& rope,
                      const std::string& field, ModelConfig& config) {
  const auto number = [&](const char* name, double otherwise) -> absl::StatusOr<double> {
    if (!rope.contains(name) || rope[name].is_null()) return otherwise;
    return reader.Positive(rope, name, absl::StrCat(field, ".", name));
  };
  RopeScaling& scaling = config.rope_scaling;
  scaling.kind = RopeScaling::Kind::kYarn;
  ASSIGN_OR_RETURN(const double original,
                   number("original_max_position_embeddings", config.max_positions));
  RETURN_IF_ERROR(CheckOriginalPositions(
      reader, absl::StrCat(field, ".original_max_position_embeddings"), original));
  scaling.original_max_position_embeddings = static_cast<int64_t>(original);
  ASSIGN_OR_RETURN(scaling.factor, number("factor", config.max_positions / original));
  ASSIGN_OR_RETURN(scaling.beta_fast, number("beta_fast", 32));
  ASSIGN_OR_RETURN(scaling.beta_slow, number("beta_slow", 1));
  if (config.rope_theta <= 1) {
    return reader.Error(absl::StrCat(field, ".rope_theta"),
                        absl::StrCat(config.rope_theta, " must exceed 1 for yarn"));
  }
  double attention = YarnScale(scaling.factor, 1);
  if (rope.contains("mscale") && rope.contains("mscale_all_dim")) {
    ASSIGN_OR_RETURN(const double mscale, number("mscale", 1));
    ASSIGN_OR_RETURN(const double all, number("mscale_all_dim", 1));
    attention = YarnScale(scaling.factor, mscale) / YarnScale(scaling.factor, all);
  }
  ASSIGN_OR_RETURN(scaling.attention_factor, number("attention_factor", attention));
  if (rope.contains("truncate")) {
    if (!rope["truncate"].is_boolean()) {
      return reader.Error(absl::StrCat(field, ".truncate"), "is neither true nor false");
    }
    scaling.truncate = rope["truncate"].get<bool>();
  }
  return absl::OkStatus();
}

// One object of parameters; `field` is its path.
absl::Status ReadRopeObject(const ConfigReader& reader, const ConfigReader::Json& rope,
                            const std::string& field, ModelConfig& config) {
  if (rope.contains("rope_theta")) {
    ASSIGN_OR_RETURN(config.rope_theta, reader.Positive(rope, "rope_theta", field + ".rope_theta"));
  }
  if (rope.contains("partial_rotary_factor")) {
    ASSIGN_OR_RETURN(const double share, reader.Positive(rope, "partial_rotary_factor",
                                                         field + ".partial_rotary_factor"));
    RETURN_IF_ERROR(SetRotaryShare(reader, field + ".partial_rotary_factor", share, config));
  }
  std::string type = "default";
  for (const char* name : {"type", "rope_type"}) {
    if (!rope.contains(name)) continue;
    if (!rope[name].is_string()) return reader.Error(field + "." + name, "is not a string");
    type = rope[name].get<std::string>();
  }
  RopeScaling& scaling = config.rope_scaling;
  std::set<std::string> known = {"type", "rope_type", "rope_theta", "partial_rotary_factor"};
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
      RETURN_IF_ERROR(
          CheckOriginalPositions(reader, field + ".original_max_position_embeddings", original));
      scaling.original_max_position_embeddings = static_cast<int64_t>(original);
      if (scaling.high_freq_factor <= scaling.low_freq_factor) {
        return reader.Error(field + ".high_freq_factor", "must exceed low_freq_factor");
      }
      known.insert({"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"});
    }
  } else if (type == "yarn") {
    RETURN_IF_ERROR(ReadYarn(reader, rope, field, config));
    known.insert({"factor", "original_max_position_embeddings", "beta_fast", "beta_slow",
                  "attention_factor", "mscale", "mscale_all_dim", "truncate"});
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

// gemma3 has a rope for the layers that see everything and one for those with a window. The newer
// spelling nests them; in the older one, rope_local_base_freq is the second.
absl::Status ReadTwoRopes(ConfigReader& reader, const ConfigReader::Json& ropes,
                          const std::string& field, ModelConfig& config) {
  for (const auto& item : ropes.items()) {
    const std::string path = absl::StrCat(field, ".", item.key());
    if (item.value().is_null()) continue;
    if (!item.value().is_object()) return reader.Error(path, "is not an object");
    if (item.key() == "full_attention") {
      RETURN_IF_ERROR(ReadRopeObject(reader, item.value(), path, config));
    } else if (item.key() == "sliding_attention") {
      ModelConfig local = config;
      local.rope_theta = config.local_rope_theta;
      local.rope_scaling = RopeScaling();
      RETURN_IF_ERROR(ReadRopeObject(reader, item.value(), path, local));
      if (local.rope_scaling.kind != RopeScaling::Kind::kDefault) {
        return absl::UnimplementedError(
            reader.Error(path + ".rope_type", "only default is known here").message());
      }
      config.local_rope_theta = local.rope_theta;
    } else {
      return absl::UnimplementedError(reader.Error(path, "is not known").message());
    }
  }
  return absl::OkStatus();
}

ConfigReader::Json RopeObjectToJson(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  ConfigReader::Json rope = {{"rope_type", "default"}, {"rope_theta", config.rope_theta}};
  if (config.rotary_dim > 0 || config.model_type == kNeoX) {
    rope["partial_rotary_factor"] = RotaryShare(config);
  }
  switch (scaling.kind) {
    case RopeScaling::Kind::kDefault:
      return rope;
    case RopeScaling::Kind::kLinear:
      rope["rope_type"] = "linear";
      break;
    case RopeScaling::Kind::kLlama3:
      rope["rope_type"] = "llama3";
      rope["low_freq_factor"] = scaling.low_freq_factor;
      rope["high_freq_factor"] = scaling.high_freq_factor;
      break;
    case RopeScaling::Kind::kYarn:
      rope["rope_type"] = "yarn";
      rope["beta_fast"] = scaling.beta_fast;
      rope["beta_slow"] = scaling.beta_slow;
      rope["attention_factor"] = scaling.attention_factor;
      rope["truncate"] = scaling.truncate;
      break;
  }
  rope["factor"] = scaling.factor;
  if (scaling.kind != RopeScaling::Kind::kLinear) {
    rope["original_max_position_embeddings"] = scaling.original_max_position_embeddings;
  }
  return rope;
}

}  // namespace

absl::Status ReadRopeConfig(ConfigReader& reader, ModelConfig& config) {
  const bool two = config.model_type == "gemma3_text";
  const bool neox = config.model_type == kNeoX;
  // The older spelling of gpt_neox has names of its own.
  const char* const theta = neox ? "rotary_emb_base" : "rope_theta";
  const char* const share_field = neox ? "rotary_pct" : "partial_rotary_factor";
  ASSIGN_OR_RETURN(config.rope_theta, reader.PositiveOr(theta, two ? 1e6 : 1e4));
  if (two) {
    ASSIGN_OR_RETURN(config.local_rope_theta, reader.PositiveOr("rope_local_base_freq", 1e4));
  }
  std::string field;
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const ConfigReader::Json& value = reader.Get(name);
    if (value.is_null()) continue;
    if (!value.is_object()) return reader.Error(name, "is not an object");
    if (!field.empty()) {
      return reader.Error(name, absl::StrCat("stands beside ", field, "; keep one of them"));
    }
    field = name;
  }
  ASSIGN_OR_RETURN(const double share, reader.PositiveOr(share_field, neox ? kNeoXRotaryShare : 1));
  if (field.empty() || !reader.Get(field).contains("partial_rotary_factor")) {
    RETURN_IF_ERROR(SetRotaryShare(reader, share_field, share, config));
  }
  if (field.empty()) return absl::OkStatus();
  const ConfigReader::Json& rope = reader.Get(field);
  if (two && (rope.contains("full_attention") || rope.contains("sliding_attention"))) {
    return ReadTwoRopes(reader, rope, field, config);
  }
  return ReadRopeObject(reader, rope, field, config);
}

ConfigReader::Json RopeConfigToJson(const ModelConfig& config) {
  if (config.local_rope_theta == 0) return RopeObjectToJson(config);
  return {
      {"full_attention", RopeObjectToJson(config)},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", config.local_rope_theta}}}};
}

}  // namespace unlearn
