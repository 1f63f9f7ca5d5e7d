#ifndef PROXY_UPSTREAM_ANSWER_JSON_H_
#define PROXY_UPSTREAM_ANSWER_JSON_H_

#include <cstdint>
#include <initializer_list>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "proxy/upstream/upstream.h"

// Reading what completions servers answer. Errors are INTERNAL, name the dialect and quote nothing
// of the answer, which may hold texts of users.
namespace unlearn {

absl::Status MalformedAnswer(absl::string_view dialect, absl::string_view what);

absl::StatusOr<nlohmann::json> ParseAnswer(absl::string_view dialect, absl::string_view body);

// The value at `path`, or null.
const nlohmann::json* FindInAnswer(const nlohmann::json& object,
                                   std::initializer_list<const char*> path);

absl::StatusOr<int32_t> ReadTokenId(absl::string_view dialect, const nlohmann::json* value);
absl::StatusOr<double> ReadLogprob(absl::string_view dialect, const nlohmann::json* value);
// A positive number, 0 for anything else.
int32_t ReadSize(const nlohmann::json* value);
// The first of the models that GET /v1/models lists.
absl::StatusOr<nlohmann::json> ReadFirstModel(absl::string_view dialect, absl::string_view body);

// Most likely first; of equals the smaller id.
void SortByLogprob(TopRow& row);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_ANSWER_JSON_H_
