#include "offset/text/json_node.h"

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"

namespace unlearn {

absl::StatusOr<JsonNode> JsonNode::Get(absl::string_view name) const {
  static const nlohmann::json* const null = new nlohmann::json(nullptr);
  if (!value_->is_object()) return Invalid("must be an object");
  const auto found = value_->find(std::string(name));
  return JsonNode(found == value_->end() ? null : &*found, absl::StrCat(path_, ".", name));
}

absl::StatusOr<std::vector<JsonNode>> JsonNode::Elements() const {
  std::vector<JsonNode> elements;
  if (IsNull()) return elements;
  if (!value_->is_array()) return Invalid("must be an array");
  elements.reserve(value_->size());
  for (size_t i = 0; i < value_->size(); ++i) {
    elements.emplace_back(&(*value_)[i], absl::StrCat(path_, "[", i, "]"));
  }
  return elements;
}

absl::StatusOr<std::string> JsonNode::String() const {
  if (!value_->is_string()) return Invalid("must be a string");
  return value_->get<std::string>();
}

absl::StatusOr<bool> JsonNode::Bool() const {
  if (!value_->is_boolean()) return Invalid("must be true or false");
  return value_->get<bool>();
}

absl::StatusOr<int32_t> JsonNode::Id() const {
  if (!value_->is_number_unsigned() || value_->get<uint64_t>() > kMaxTokenId) {
    return Invalid(absl::StrCat("must be a token id from 0 to ", kMaxTokenId));
  }
  return static_cast<int32_t>(value_->get<uint64_t>());
}

absl::StatusOr<bool> JsonNode::Flag(absl::string_view name, bool missing) const {
  ASSIGN_OR_RETURN(const JsonNode field, Get(name));
  if (field.IsNull()) return missing;
  return field.Bool();
}

std::string JsonNode::Shown() const {
  std::string text =
      value_->dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 80) text = absl::StrCat(text.substr(0, 77), "...");
  return text;
}

absl::Status JsonNode::Invalid(absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, " is ", Shown(), ": ", what));
}

absl::Status JsonNode::Unsupported(absl::string_view what) const {
  return absl::UnimplementedError(absl::StrCat(path_, " is ", Shown(), ": ", what));
}

}  // namespace unlearn
