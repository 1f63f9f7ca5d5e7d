#include "offset/base/parse_json.h"

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

// Of all of `text` that is JSON: what stands before the first error is seen as the parser sees it.
int Nesting(absl::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;  // whatever is escaped ends no string
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > deepest) deepest = depth;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text) {
  if (Nesting(text) > kMaxJsonNesting) {
    return absl::InvalidArgumentError(absl::StrCat("holds more than ", kMaxJsonNesting,
                                                   " arrays and objects inside one another"));
  }
  nlohmann::json json =
      nlohmann::json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat("not valid JSON (", text.size(), " bytes)"));
  }
  return json;
}

}  // namespace unlearn
