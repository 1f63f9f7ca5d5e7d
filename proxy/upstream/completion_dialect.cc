#include "proxy/upstream/completion_dialect.h"

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "offset/base/parse_json.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/answer_json.h"

namespace unlearn {

using nlohmann::json;

absl::StatusOr<std::vector<int32_t>> CompletionDialect::ReadTokens(absl::string_view body) const {
  ASSIGN_OR_RETURN(const json answer, ParseAnswer(name(), body));
  const json* const tokens = FindInAnswer(answer, {"tokens"});
  if (tokens == nullptr || !tokens->is_array()) return MalformedAnswer(name(), "no tokens");
  std::vector<int32_t> ids;
  for (const json& token : *tokens) {
    ASSIGN_OR_RETURN(const int32_t id, ReadTokenId(name(), &token));
    ids.push_back(id);
  }
  return ids;
}

absl::Status CompletionDialect::ReadError(int http_status, absl::string_view body) const {
  std::string what = absl::StrCat("HTTP ", http_status);
  const absl::StatusOr<json> parsed = ParseJson(body);
  const json* const type = parsed.ok() ? FindInAnswer(*parsed, {"error", "type"}) : nullptr;
  if (type != nullptr && type->is_string() && type->get_ref<const std::string&>().size() < 60) {
    absl::StrAppend(&what, " (", type->get_ref<const std::string&>(), ")");
  }
  switch (http_status) {
    case 400:
    case 413:
    case 422:
      return absl::InvalidArgumentError(what);
    case 401:
      return absl::UnauthenticatedError(absl::StrCat(what, " (see --upstream_token_file)"));
    case 403:
      return absl::PermissionDeniedError(absl::StrCat(what, " (see --upstream_token_file)"));
    case 404:
    case 405:
      return absl::FailedPreconditionError(
          absl::StrCat(what, ": the server knows no such path or model"));
    case 408:
    case 504:
      return absl::DeadlineExceededError(what);
    case 429:
      return absl::ResourceExhaustedError(absl::StrCat(what, ": too many requests"));
    default:
      return absl::UnavailableError(what);
  }
}

}  // namespace unlearn
