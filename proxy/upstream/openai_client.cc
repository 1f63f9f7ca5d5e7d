#include "proxy/upstream/openai_client.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/retry_after.h"

namespace unlearn {
namespace {

// Rounding of a server's fp32 sum: above that a log-prob is none.
constexpr double kAboveZero = 1e-2;

// [vocab_size], -inf where the server named no token.
std::vector<float> WholeRow(const TopRow& top, int32_t vocab_size) {
  std::vector<float> row(vocab_size, -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < top.ids.size(); ++i) {
    row[top.ids[i]] = static_cast<float>(top.logprobs[i]);
  }
  return row;
}

class OpenaiClient : public ExchangeClient {
 public:
  explicit OpenaiClient(std::shared_ptr<const OpenaiConnection> connection)
      : connection_(std::move(connection)) {}

  void Start(Exchange exchange, Callback done) override {
    const int32_t top =
        exchange.top > 0 ? std::min(exchange.top, connection_->vocab_size) : connection_->top;
    HttpRequest request = LawRequest(*connection_, exchange.token_ids, top, /*temperature=*/0);
    // Held by the call alone: a call that is destroyed lets go of the session.
    const auto callback = std::make_shared<Callback>(std::move(done));
    const int64_t tokens = static_cast<int64_t>(exchange.token_ids.size());
    std::unique_ptr<HttpClient::Call> before;
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return;
    before = std::move(call_);  // has ended; perhaps we are inside its callback
    call_ = connection_->http->Start(
        std::move(request), nullptr,
        [connection = connection_, callback, tokens, top](absl::StatusOr<HttpResponse> response) {
          absl::StatusOr<CompletionRow> row =
              ReadLaw(*connection, tokens, top, std::move(response));
          if (!row.ok()) {
            (*callback)(row.status());
            return;
          }
          UpstreamLogits logits;
          logits.rows = 1;
          if (connection->whole_rows) {
            logits.logits = WholeRow(row->top, connection->vocab_size);
          } else {
            logits.tops.push_back(std::move(row->top));
          }
          (*callback)(std::move(logits));
        });
  }

  void Cancel() override {
    std::unique_ptr<HttpClient::Call> call;
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    call = std::move(call_);
  }

 private:
  const std::shared_ptr<const OpenaiConnection> connection_;
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<HttpClient::Call> call_ ABSL_GUARDED_BY(mutex_);
};

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
  const auto named = [&](const absl::Status& status) {
    return absl::Status(status.code(),
                        absl::StrCat("the upstream ", connection.url, ": ", status.message()));
  };
  if (response->status != 200) {
    return WithRetryAfter(named(connection.dialect->ReadError(response->status, response->body)),
                          response->retry_after);
  }
  absl::StatusOr<CompletionRow> row = connection.dialect->ReadRow(response->body, top);
  if (!row.ok()) return named(row.status());
  const auto wrong = [&](absl::string_view what) {
    return named(absl::InternalError(absl::StrCat("the answer tells no law: ", what)));
  };
  if (row->prompt_tokens > 0 && row->prompt_tokens != prompt_tokens) {
    return wrong(absl::StrCat("it read ", row->prompt_tokens, " tokens where ", prompt_tokens,
                              " were sent"));
  }
  if (row->top.ids.empty()) return wrong("not one token");
  std::vector<int32_t> ids = row->top.ids;
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) return wrong("a token twice");
  if (connection.vocab_size > 0 && ids.back() >= connection.vocab_size) {
    return wrong(absl::StrCat("token ", ids.back(), " of a vocabulary of ", connection.vocab_size));
  }
  if (row->top.logprobs.front() > kAboveZero) return wrong("a log-prob above 0");
  return row;
}

std::unique_ptr<ExchangeClient> NewOpenaiClient(
    std::shared_ptr<const OpenaiConnection> connection) {
  return std::make_unique<OpenaiClient>(std::move(connection));
}

}  // namespace unlearn
