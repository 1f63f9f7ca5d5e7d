#include "proxy/upstream/openai_client.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "proxy/upstream/completion_sample.h"
#include "proxy/upstream/told_row.h"

namespace unlearn {
namespace {

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
    std::unique_ptr<HttpClient::Call> older;  // has ended
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return;
    older = std::exchange(previous_, std::move(call_));
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
            logits.logits = ToldRow(row->top, connection->vocab_size);
          } else {
            logits.tops.push_back(std::move(row->top));
          }
          (*callback)(std::move(logits));
        });
  }

  void Sample(ExchangeSampling sampling, SampleCallback rows) override {
    StopSampling();  // the one before, which has ended
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return;
    sample_ = CompletionSample::Start(connection_, std::move(sampling), std::move(rows));
  }

  void StopSampling() override {
    std::shared_ptr<CompletionSample> sample;
    {
      absl::MutexLock lock(&mutex_);
      sample = std::move(sample_);
    }
    if (sample != nullptr) sample->Stop();
  }

  void Cancel() override {
    std::unique_ptr<HttpClient::Call> call, previous;
    {
      absl::MutexLock lock(&mutex_);
      cancelled_ = true;
      call = std::move(call_);
      previous = std::move(previous_);
    }
    StopSampling();
  }

 private:
  const std::shared_ptr<const OpenaiConnection> connection_;
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<HttpClient::Call> call_ ABSL_GUARDED_BY(mutex_);
  // The one before: its callback, which started call_, may still be returning, and Cancel waits for
  // it: what it holds must not be the last to hold the HTTP client.
  std::unique_ptr<HttpClient::Call> previous_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<CompletionSample> sample_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<ExchangeClient> NewOpenaiClient(
    std::shared_ptr<const OpenaiConnection> connection) {
  return std::make_unique<OpenaiClient>(std::move(connection));
}

}  // namespace unlearn
