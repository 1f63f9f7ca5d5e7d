#include "offset/model/config_reader.h"

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

// Of positive numbers: what is computed from them stays finite in fp32.
constexpr double kSmallest = 1e-30;
constexpr double kLargest = 1e30;

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
                                                        "_model_name_or_path",
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

}  // namespace

absl::Status ConfigReader::Error(absl::string_view field, absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat(origin_, ": $.", field, ": ", message));
}

absl::StatusOr<int64_t> ConfigReader::Integer(const std::string& field, int64_t low, int64_t high) {
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

absl::StatusOr<int64_t> ConfigReader::IntegerOr(const std::string& field, int64_t low, int64_t high,
                                                int64_t otherwise) {
  seen_.insert(field);
  if (!Has(field)) return otherwise;
  return Integer(field, low, high);
}

absl::StatusOr<double> ConfigReader::PositiveOr(const std::string& field, double otherwise) {
  seen_.insert(field);
  if (!Has(field)) return otherwise;
  return Positive(json_, field, field);
}

absl::StatusOr<double> ConfigReader::Positive(const Json& parent, const std::string& field,
                                              const std::string& path) const {
  const auto it = parent.find(field);
  if (it == parent.end() || !it->is_number()) return Error(path, "is missing or no number");
  const double value = it->get<double>();
  if (!(value >= kSmallest && value <= kLargest)) {
    return Error(path, absl::StrCat(value, " is not a positive number between ", kSmallest, " and ",
                                    kLargest));
  }
  return value;
}

absl::StatusOr<bool> ConfigReader::BoolOr(const std::string& field, bool otherwise) {
  seen_.insert(field);
  if (!Has(field)) return otherwise;
  if (!json_[field].is_boolean()) return Error(field, "is neither true nor false");
  return json_[field].get<bool>();
}

absl::Status ConfigReader::Only(const std::string& field, const std::vector<Json>& allowed) {
  seen_.insert(field);
  if (!Has(field)) return absl::OkStatus();
  for (const Json& value : allowed) {
    if (json_[field] == value) return absl::OkStatus();
  }
  return absl::UnimplementedError(absl::StrCat(origin_, ": $.", field, ": ", json_[field].dump(),
                                               " is not supported by this decoder"));
}

absl::StatusOr<std::vector<int32_t>> ConfigReader::Ids(const std::string& field,
                                                       int64_t vocab_size) {
  seen_.insert(field);
  std::vector<int32_t> ids;
  if (!Has(field)) return ids;
  const Json& value = json_[field];
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& item : list) {
    if (!item.is_number_integer() || item.get<int64_t>() < 0 || item.get<int64_t>() >= vocab_size) {
      return Error(field,
                   absl::StrCat(item.dump(), " is not a token id below vocab_size ", vocab_size));
    }
    ids.push_back(item.get<int32_t>());
  }
  return ids;
}

bool ConfigReader::Has(const std::string& field) const {
  const auto it = json_.find(field);
  return it != json_.end() && !it->is_null();
}
const ConfigReader::Json& ConfigReader::Get(const std::string& field) {
  static const Json* const null = new Json();
  seen_.insert(field);
  const auto it = json_.find(field);
  return it == json_.end() ? *null : *it;
}

absl::Status ConfigReader::RefuseUnknown() const {
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

}  // namespace unlearn
