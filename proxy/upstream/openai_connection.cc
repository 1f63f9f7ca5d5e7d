#include "proxy/upstream/openai_connection.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/retry_after.h"

namespace unlearn {
namespace {

// Rounding of a server's fp32 sum: above that a log-prob is none.
constexpr double kAboveZero = 1e-2;
// Two tellings of one log-prob differ by less.
constexpr double kSame = 1e-3;

// INTERNAL where `top`, most likely first, cannot be the most likely tokens of a law.
absl::Status CheckTop(const OpenaiConnection& connection, const TopRow& top) {
  std::vector<int32_t> ids = top.ids;
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) {
    return absl::InternalError("a token twice");
  }
  if (connection.vocab_size > 0 && ids.back() >= connection.vocab_size) {
    return absl::InternalError(
        absl::StrCat("token ", ids.back(), " of a vocabulary of ", connection.vocab_size));
  }
  if (top.logprobs.front() > kAboveZero) return absl::InternalError("a log-prob above 0");
  return absl::OkStatus();
}

}  // namespace

HttpRequest LawRequest(const OpenaiConnection& connection, absl::Span<const int32_t> prompt,
                       int32_t top, double temperature) {
  CompletionDialect::Query query;
  query.prompt = prompt;
  query.top = top;
  query.temperature = temperature;
  query.model = connection.model;
  query.whole_character = connection.whole_character;
  HttpRequest request;
  request.path = std::string(connection.dialect->path());
  request.body = connection.dialect->Body(query);
  request.total.limit = connection.timeout;
  request.total.flag = "upstream_step_timeout";
  // About 120 bytes an entry.
  request.max_body_bytes = (size_t{1} << 20) + size_t{512} * std::clamp(top, 0, 1 << 20);
  return request;
}

absl::StatusOr<CompletionRow> ReadLaw(const OpenaiConnection& connection, int64_t prompt_tokens,
                                      int32_t top, absl::StatusOr<HttpResponse> response) {
  RETURN_IF_ERROR(response.status());
  if (response->status != 200) {
    return WithRetryAfter(
        NamedError(connection, connection.dialect->ReadError(response->status, response->body)),
        response->retry_after);
  }
  absl::StatusOr<CompletionRow> row = connection.dialect->ReadRow(response->body, top);
  if (!row.ok()) return NamedError(connection, row.status());
  const auto wrong = [&](absl::string_view what) {
    return NamedError(connection,
                      absl::InternalError(absl::StrCat("the answer tells no law: ", what)));
  };
  if (row->prompt_tokens > 0 && row->prompt_tokens != prompt_tokens) {
    return wrong(absl::StrCat("it read ", row->prompt_tokens, " tokens where ", prompt_tokens,
                              " were sent"));
  }
  if (row->top.ids.empty()) return wrong("not one token");
  if (const absl::Status status = CheckTop(connection, row->top); !status.ok()) {
    return wrong(status.message());
  }
  return row;
}

absl::Status CheckDrawn(const OpenaiConnection& connection, const SampledRow& row) {
  const auto wrong = [&](absl::string_view what) {
    return NamedError(connection,
                      absl::InternalError(absl::StrCat("a token that it drew has no law: ", what)));
  };
  if (row.id < 0 || row.id >= connection.vocab_size) {
    return wrong(absl::StrCat("token ", row.id, " of a vocabulary of ", connection.vocab_size));
  }
  if (row.top.ids.empty()) return absl::OkStatus();
  if (const absl::Status status = CheckTop(connection, row.top); !status.ok()) {
    return wrong(status.message());
  }
  // Where rows were shifted against tokens this would show.
  const auto it = std::find(row.top.ids.begin(), row.top.ids.end(), row.id);
  const bool fits =
      it == row.top.ids.end()
          ? row.logprob < row.top.logprobs.back() + kSame
          : std::abs(row.top.logprobs[it - row.top.ids.begin()] - row.logprob) < kSame;
  if (!fits) return wrong("its log-prob is not the one among the most likely tokens");
  return absl::OkStatus();
}

absl::Status NamedError(const OpenaiConnection& connection, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat("the upstream ", connection.url, ": ", status.message()));
}

}  // namespace unlearn
