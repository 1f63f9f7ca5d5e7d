#include "proxy/upstream/answer_json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/parse_json.h"
#include "offset/base/status_macros.h"

namespace unlearn {

using nlohmann::json;

absl::Status MalformedAnswer(absl::string_view dialect, absl::string_view what) {
  return absl::InternalError(absl::StrCat("the answer is not one of ", dialect, "'s: ", what));
}

absl::StatusOr<json> ParseAnswer(absl::string_view dialect, absl::string_view body) {
  absl::StatusOr<json> parsed = ParseJson(body);
  // The parser's message may quote the body.
  if (!parsed.ok() || !parsed->is_object()) return MalformedAnswer(dialect, "no JSON object");
  return parsed;
}

const json* FindInAnswer(const json& object, std::initializer_list<const char*> path) {
  const json* at = &object;
  for (const char* const name : path) {
    if (!at->is_object()) return nullptr;
    const auto it = at->find(name);
    if (it == at->end()) return nullptr;
    at = &*it;
  }
  return at;
}

absl::StatusOr<int32_t> ReadTokenId(absl::string_view dialect, const json* value) {
  if (value != nullptr && value->is_number_integer()) {
    const int64_t id = value->get<int64_t>();
    if (id >= 0 && id <= std::numeric_limits<int32_t>::max()) return static_cast<int32_t>(id);
  }
  return MalformedAnswer(dialect, "a token without its id");
}

absl::StatusOr<double> ReadLogprob(absl::string_view dialect, const json* value) {
  if (value != nullptr && value->is_number() && std::isfinite(value->get<double>())) {
    return value->get<double>();
  }
  return MalformedAnswer(dialect, "a token without its log-prob");
}

void SortByLogprob(TopRow& row) {
  std::vector<size_t> order(row.ids.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return row.logprobs[a] != row.logprobs[b] ? row.logprobs[a] > row.logprobs[b]
                                              : row.ids[a] < row.ids[b];
  });
  TopRow sorted;
  for (const size_t i : order) {
    sorted.ids.push_back(row.ids[i]);
    sorted.logprobs.push_back(row.logprobs[i]);
  }
  row = std::move(sorted);
}

int32_t ReadSize(const json* value) {
  if (value == nullptr || !value->is_number_integer()) return 0;
  const int64_t size = value->get<int64_t>();
  return size > 0 && size <= std::numeric_limits<int32_t>::max() ? static_cast<int32_t>(size) : 0;
}

absl::StatusOr<json> ReadFirstModel(absl::string_view dialect, absl::string_view body) {
  ASSIGN_OR_RETURN(const json answer, ParseAnswer(dialect, body));
  const json* const data = FindInAnswer(answer, {"data"});
  if (data == nullptr || !data->is_array() || data->empty()) {
    return MalformedAnswer(dialect, "no models");
  }
  return data->front();
}

}  // namespace unlearn
