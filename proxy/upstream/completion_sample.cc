#include "proxy/upstream/completion_sample.h"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "offset/base/status_macros.h"
#include "proxy/transport/sse_reader.h"

namespace unlearn {
namespace {

// Tokens that come at once. A short first window brings the first token soon; all of a long one
// are lost when an early token of it is rejected.
constexpr int32_t kFirstWindow = 4;
constexpr int32_t kLongestWindow = 32;
constexpr absl::Duration kQuick = absl::Seconds(1);

// About 120 bytes an entry, 34 with vLLM.
constexpr size_t kBytesOfEntry = 512;

class Sample : public CompletionSample, public std::enable_shared_from_this<Sample> {
 public:
  Sample(std::shared_ptr<const OpenaiConnection> connection, ExchangeSampling sampling,
         ExchangeClient::SampleCallback rows)
      : connection_(std::move(connection)),
        tokens_(std::move(sampling.token_ids)),
        left_(sampling.max_tokens),
        temperature_(sampling.temperature),
        top_(sampling.top > 0 ? std::min(sampling.top, connection_->vocab_size) : connection_->top),
        rows_(std::move(rows)),
        sse_(EventBytes(kLongestWindow)) {}

  // The next request. On the HTTP client's thread, but for the first.
  void Ask() {
    const bool streams = connection_->dialect->streams_draws();
    draw_.prompt = tokens_;
    draw_.max_tokens = streams ? left_ : std::min(window_, left_);
    draw_.top = top_;
    draw_.temperature = temperature_;
    draw_.seed = std::random_device()();
    draw_.model = connection_->model;
    HttpRequest request;
    request.path = std::string(connection_->dialect->path());
    request.body = connection_->dialect->DrawBody(draw_);
    request.max_body_bytes = EventBytes(draw_.max_tokens);
    // A window comes in one piece.
    request.first_byte =
        first_ ? HttpTimeout{connection_->first_token_timeout, "upstream_first_token_timeout"}
               : HttpTimeout{connection_->idle_timeout, "upstream_idle_timeout"};
    request.idle = {connection_->idle_timeout, "upstream_idle_timeout"};
    first_ = false;
    asked_at_ = absl::Now();
    // A call that ends or is destroyed lets go of this object.
    const auto self = shared_from_this();
    HttpClient::OnData on_data;
    if (streams) on_data = [self](absl::string_view piece) { self->TakePiece(piece); };
    std::unique_ptr<HttpClient::Call> older;  // has ended
    absl::MutexLock lock(&mutex_);
    if (stopped_) return;
    older = std::exchange(previous_, std::move(call_));
    call_ = connection_->http->Start(std::move(request), std::move(on_data),
                                     [self, streams](absl::StatusOr<HttpResponse> response) {
                                       streams ? self->TakeEnd(std::move(response))
                                               : self->TakeWindow(std::move(response));
                                     });
  }

  void Stop() override {
    std::unique_ptr<HttpClient::Call> call, previous;
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    call = std::move(call_);
    previous = std::move(previous_);
  }

 private:
  size_t EventBytes(int32_t tokens) const {
    return (size_t{1} << 20) + kBytesOfEntry * std::clamp(tokens, 1, kLongestWindow) * (top_ + 1);
  }

  // A piece of a stream.
  void TakePiece(absl::string_view piece) {
    if (over_) return;
    std::vector<std::string> events;
    absl::Status status = sse_.Append(piece, events);
    if (!status.ok()) status = NamedError(*connection_, status);
    SampledRows rows;
    for (const std::string& event : events) {
      if (event == "[DONE]") {
        rows.ended = true;
        break;
      }
      const absl::Status taken = TakeTokens(event, rows);
      if (!taken.ok()) {
        status = taken;
        break;
      }
    }
    if (rows.ended && !all_came_) {
      status = absl::UnavailableError("the server ended its stream without saying why");
      status = NamedError(*connection_, status);
      rows.ended = false;
    }
    // What came before an error is good.
    if (!rows.rows.empty() || rows.ended) Give(std::move(rows));
    if (!status.ok()) Give(status);
  }

  // Of a stream's end.
  void TakeEnd(absl::StatusOr<HttpResponse> response) {
    if (over_) return;
    if (!response.ok()) {
      Give(response.status());
    } else if (response->status != 200) {
      Give(NamedError(*connection_,
                      connection_->dialect->ReadError(response->status, response->body)));
    } else {
      Give(NamedError(*connection_,
                      absl::UnavailableError("the stream ended in the middle, without [DONE]")));
    }
  }

  void TakeWindow(absl::StatusOr<HttpResponse> response) {
    SampledRows rows;
    absl::Status status = response.status();
    if (status.ok() && response->status != 200) {
      status = NamedError(*connection_,
                          connection_->dialect->ReadError(response->status, response->body));
    } else if (status.ok()) {
      drawn_ = 0;
      status = TakeTokens(response->body, rows);
    }
    if (!status.ok()) {
      Give(status);
      return;
    }
    rows.ended = all_came_ || left_ == 0;
    window_ = absl::Now() - asked_at_ < kQuick ? std::min(2 * window_, kLongestWindow)
                                               : std::max(window_ / 2, kFirstWindow);
    for (const SampledRow& row : rows.rows) tokens_.push_back(row.id);
    Give(std::move(rows));
    if (!over_) Ask();
  }

  // Appends what an event or a window holds.
  absl::Status TakeTokens(absl::string_view text, SampledRows& rows) {
    absl::StatusOr<DrawnTokens> drawn = connection_->dialect->ReadDrawn(text, draw_);
    if (!drawn.ok()) return NamedError(*connection_, drawn.status());
    const auto wrong = [&](auto&&... what) {
      return NamedError(*connection_, absl::InternalError(absl::StrCat(what...)));
    };
    if (drawn->prompt_tokens > 0 && drawn->prompt_tokens != static_cast<int64_t>(tokens_.size())) {
      return wrong("it read ", drawn->prompt_tokens, " tokens where ", tokens_.size(),
                   " were sent");
    }
    const int32_t count = static_cast<int32_t>(drawn->rows.size());
    drawn_ += count;
    if (drawn->drawn_tokens > 0 && drawn->drawn_tokens != drawn_) {
      return wrong("it drew ", drawn->drawn_tokens, " tokens and told ", drawn_);
    }
    if (drawn_ > draw_.max_tokens || (all_came_ && count > 0)) {
      return wrong("it drew more tokens than the ", draw_.max_tokens, " that were asked for");
    }
    for (const SampledRow& row : drawn->rows) RETURN_IF_ERROR(CheckDrawn(*connection_, row));
    left_ -= count;
    all_came_ |= drawn->ended;
    std::move(drawn->rows.begin(), drawn->rows.end(), std::back_inserter(rows.rows));
    return absl::OkStatus();
  }

  void Give(absl::StatusOr<SampledRows> rows) {
    over_ = !rows.ok() || rows->ended;
    rows_(std::move(rows));
    // A stream that we cannot read may go on until Stop.
    if (over_) rows_ = nullptr;
  }

  const std::shared_ptr<const OpenaiConnection> connection_;

  // Of Ask and the callbacks, which run one after the other.
  std::vector<int32_t> tokens_;  // of the prompt of the request under way
  int32_t left_;                 // tokens that are still wanted
  const double temperature_;
  const int32_t top_;
  ExchangeClient::SampleCallback rows_;
  CompletionDialect::Draw draw_;  // the request under way
  int32_t drawn_ = 0;             // tokens of its answer
  SseReader sse_;
  int32_t window_ = kFirstWindow;
  bool first_ = true;
  absl::Time asked_at_;
  bool all_came_ = false;  // the server adds no more
  bool over_ = false;      // the last call of rows_

  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<HttpClient::Call> call_ ABSL_GUARDED_BY(mutex_);
  // The one before: its callback, which started call_, may still be returning, and Stop waits for
  // it.
  std::unique_ptr<HttpClient::Call> previous_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<CompletionSample> CompletionSample::Start(
    std::shared_ptr<const OpenaiConnection> connection, ExchangeSampling sampling,
    ExchangeClient::SampleCallback rows) {
  auto sample =
      std::make_shared<Sample>(std::move(connection), std::move(sampling), std::move(rows));
  sample->Ask();
  return sample;
}

}  // namespace unlearn
