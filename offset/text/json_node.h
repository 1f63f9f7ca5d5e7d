#ifndef OFFSET_TEXT_JSON_NODE_H_
#define OFFSET_TEXT_JSON_NODE_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// A value of a JSON document with its path, so that every error says where it stands. The document
// must outlive it.
class JsonNode {
 public:
  JsonNode(const nlohmann::json* value, std::string path) : value_(value), path_(std::move(path)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& path() const { return path_; }
  bool IsNull() const { return value_->is_null(); }

  // A member of an object; a null value where it is missing. INVALID_ARGUMENT if not an object.
  absl::StatusOr<JsonNode> Get(absl::string_view name) const;
  // The elements of an array; none for null. INVALID_ARGUMENT if neither.
  absl::StatusOr<std::vector<JsonNode>> Elements() const;

  // INVALID_ARGUMENT when the value has another type.
  absl::StatusOr<std::string> String() const;
  absl::StatusOr<bool> Bool() const;
  absl::StatusOr<int32_t> Id() const;  // 0 to kMaxTokenId

  // The member as a flag; `missing` where it is absent or null.
  absl::StatusOr<bool> Flag(absl::string_view name, bool missing) const;

  absl::Status Invalid(absl::string_view what) const;
  // For a value that the format allows and this program does not do.
  absl::Status Unsupported(absl::string_view what) const;

 private:
  // The value for an error message, shortened.
  std::string Shown() const;

  const nlohmann::json* value_;
  std::string path_;
};

// Larger ids are refused: tables are indexed by id.
inline constexpr int32_t kMaxTokenId = (1 << 24) - 1;

}  // namespace unlearn

#endif  // OFFSET_TEXT_JSON_NODE_H_
