#ifndef OFFSET_BASE_PARSE_JSON_H_
#define OFFSET_BASE_PARSE_JSON_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace unlearn {

// Arrays and objects inside one another, at most. Copying and printing a value recurse, so that a
// file of 100 KB of brackets would end the process for want of stack.
inline constexpr int kMaxJsonNesting = 64;

// A JSON document from somewhere else. INVALID_ARGUMENT, to stand after the name of its origin and
// ": ", when it is no JSON or nests more deeply.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text);

}  // namespace unlearn

#endif  // OFFSET_BASE_PARSE_JSON_H_
