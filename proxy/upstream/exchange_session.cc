#include "proxy/upstream/exchange_session.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/alarm.h"
#include "proxy/upstream/callback_threads.h"
#include "proxy/upstream/step_check.h"

namespace unlearn {
namespace {

absl::Status ClosedError() { return absl::CancelledError("the session was closed"); }

// Of the session and of the exchange under way.
class Exchanges : public std::enable_shared_from_this<Exchanges> {
 public:
  Exchanges(const ExchangeOptions& options, std::unique_ptr<ExchangeClient> client)
      : options_(options), client_(std::move(client)) {}

  void Step(UpstreamStep step, UpstreamSession::Callback done) {
    Push({std::move(step), std::move(done), nullptr});
  }

  void Sample(UpstreamSampling sampling, UpstreamSession::SampleCallback rows) {
    Push({{}, nullptr, std::make_shared<Sampling>(std::move(sampling), std::move(rows))});
  }

  // Afterwards no callback runs.
  void Close() {
    std::deque<Waiting> cancelled;
    std::shared_ptr<Sampling> sampling;
    {
      absl::MutexLock lock(&mutex_);
      closed_ = true;
    }
    // Without the lock: it may wait for an answer that is being taken.
    client_->Cancel();
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](bool* answering) { return !*answering; }, &answering_));
      cancelled.swap(waiting_);
      sampling.swap(sampling_);
    }
    for (Waiting& waiting : cancelled) {
      if (waiting.done != nullptr) waiting.done(ClosedError());
      if (waiting.sampling != nullptr) waiting.sampling->rows = nullptr;
    }
    if (sampling != nullptr) sampling->rows = nullptr;
  }

 private:
  // From its call to its end.
  struct Sampling {
    Sampling(UpstreamSampling asked, UpstreamSession::SampleCallback rows)
        : asked(std::move(asked)), rows(std::move(rows)) {}
    UpstreamSampling asked;
    UpstreamSession::SampleCallback rows;
    bool stopped = false;  // by what was called next: `rows` is not called any more
    bool gave = false;     // tokens
  };

  struct Waiting {
    UpstreamStep step;
    UpstreamSession::Callback done;
    std::shared_ptr<Sampling> sampling;  // instead of a step
  };

  void Push(Waiting waiting) {
    absl::MutexLock lock(&mutex_);
    if (last_sampling_ != nullptr) last_sampling_->stopped = true;
    last_sampling_ = waiting.sampling;
    waiting_.push_back(std::move(waiting));
    // Never on this thread, which may hold locks of the caller's.
    if (!working_) Schedule();
  }

  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    working_ = true;
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(gpr_now(GPR_CLOCK_MONOTONIC), [self = shared_from_this()](bool) mutable {
      // Moved out: the alarm, which we own, keeps this function.
      const std::shared_ptr<Exchanges> exchanges = std::move(self);
      exchanges->Work();
    });
  }

  // Answers what can be answered, until the server must be asked or nothing waits. One thread at a
  // time: it runs only where working_ was set for it.
  void Work() {
    absl::MutexLock lock(&mutex_);
    while (!closed_ && !waiting_.empty()) {
      if (sampling_ != nullptr) {
        StopSampling();
        continue;
      }
      if (waiting_.front().sampling != nullptr) {
        BeginSampling();
        continue;
      }
      if (!begun_) {
        const absl::Status refused =
            broken_.ok() ? CheckStep(waiting_.front().step, static_cast<int64_t>(tokens_.size()),
                                     options_.max_context, options_.vocab_size)
                         : broken_;
        if (!refused.ok()) {
          Answer(refused);
          continue;
        }
        Begin(waiting_.front().step);
      }
      if (asked_ == to_ask_) {
        Answer(std::exchange(result_, UpstreamLogits()));
        continue;
      }
      Ask();
      return;
    }
    working_ = false;
  }

  // Takes the step's tokens over.
  void Begin(const UpstreamStep& step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    TakeTokens(step.base_position, step.token_ids);
    to_ask_ = step.positions == UpstreamStep::Positions::kLast  ? 1
              : step.positions == UpstreamStep::Positions::kAll ? step.token_ids.size()
                                                                : 0;
    asked_ = 0;
    begun_ = true;
  }

  void TakeTokens(int32_t base_position, const std::vector<int32_t>& token_ids)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    base_position_ = base_position;
    replaced_.assign(tokens_.begin() + base_position, tokens_.end());
    tokens_.resize(base_position);
    tokens_.insert(tokens_.end(), token_ids.begin(), token_ids.end());
    // What the server holds beyond the roll-back is void, and it cannot be told so.
    if (known_ > base_position) known_ = 0;
  }

  // As if the last TakeTokens had not been.
  void PutBackTokens() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    tokens_.resize(base_position_);
    tokens_.insert(tokens_.end(), replaced_.begin(), replaced_.end());
  }

  void Ask() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Exchange exchange;
    exchange.rows = static_cast<int32_t>(options_.last_row_only ? 1 : to_ask_);
    const int64_t end = static_cast<int64_t>(tokens_.size()) - (to_ask_ - asked_ - exchange.rows);
    exchange.token_ids.assign(tokens_.begin(), tokens_.begin() + end);
    exchange.known = known_;
    exchange.top = waiting_.front().step.top;
    const int64_t rows = exchange.rows;
    mutex_.Unlock();
    client_->Start(std::move(exchange), [self = shared_from_this(), rows,
                                         end](absl::StatusOr<UpstreamLogits> logits) mutable {
      const std::shared_ptr<Exchanges> exchanges = std::move(self);
      exchanges->Take(std::move(logits), rows, end);
    });
    mutex_.Lock();
  }

  void Take(absl::StatusOr<UpstreamLogits> logits, int64_t rows, int64_t end) {
    {
      absl::MutexLock lock(&mutex_);
      if (closed_) return;
      if (logits.ok() && HasRows(*logits, rows)) {
        known_ = static_cast<int32_t>(end);
        asked_ += rows;
        if (result_.rows == 0) {
          result_ = *std::move(logits);
        } else {
          result_.rows += rows;
          result_.logits.insert(result_.logits.end(), logits->logits.begin(), logits->logits.end());
          std::move(logits->tops.begin(), logits->tops.end(), std::back_inserter(result_.tops));
        }
      } else {
        absl::Status error =
            logits.ok()
                ? absl::InternalError(absl::StrCat("the upstream's client gave ", logits->rows,
                                                   " rows where ", rows, " were asked for"))
                : logits.status();
        result_ = UpstreamLogits();
        known_ = 0;
        if (absl::IsInvalidArgument(error)) {
          PutBackTokens();
        } else {
          broken_ = error;
        }
        Answer(std::move(error));
      }
    }
    Work();
  }

  bool HasRows(const UpstreamLogits& logits, int64_t rows) const {
    if (logits.rows != rows) return false;
    return options_.tells_tops
               ? static_cast<int64_t>(logits.tops.size()) == rows
               : static_cast<int64_t>(logits.logits.size()) == rows * options_.vocab_size;
  }

  // Calls the front step back.
  void Answer(absl::StatusOr<UpstreamLogits> result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Waiting step = std::move(waiting_.front());
    waiting_.pop_front();
    begun_ = false;
    answering_ = true;
    mutex_.Unlock();
    step.done(std::move(result));
    step.done = nullptr;  // what it holds is released before Close may return
    mutex_.Lock();
    answering_ = false;
  }

  // The front Sample begins, and does not wait in front of what comes next.
  void BeginSampling() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const std::shared_ptr<Sampling> sampling = std::move(waiting_.front().sampling);
    waiting_.pop_front();
    const UpstreamSampling& asked = sampling->asked;
    const absl::Status refused =
        broken_.ok()
            ? CheckSampling(asked, static_cast<int64_t>(tokens_.size()), options_.max_context,
                            options_.vocab_size, options_.least_temperature)
            : broken_;
    if (!refused.ok()) {
      GiveRows(*sampling, refused);
      return;
    }
    TakeTokens(asked.base_position, asked.token_ids);
    known_ = 0;
    if (sampling->stopped) {
      GiveRows(*sampling, SampledRows());
      return;
    }
    sampling_ = sampling;
    ExchangeSampling exchange;
    exchange.token_ids = tokens_;
    exchange.temperature = asked.temperature;
    // What is drawn after the whole context is a token still.
    exchange.max_tokens = static_cast<int32_t>(std::min<int64_t>(
        asked.max_tokens,
        options_.max_context + int64_t{1} - static_cast<int64_t>(tokens_.size())));
    exchange.top = asked.top;
    mutex_.Unlock();
    client_->Sample(std::move(exchange),
                    [self = shared_from_this(), sampling](absl::StatusOr<SampledRows> rows) {
                      self->TakeRows(sampling, std::move(rows));
                    });
    mutex_.Lock();
  }

  void StopSampling() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    mutex_.Unlock();
    client_->StopSampling();
    mutex_.Lock();
    // A call of `rows` that is under way, and is not waited for there.
    mutex_.Await(absl::Condition(
        +[](bool* answering) { return !*answering; }, &answering_));
    const std::shared_ptr<Sampling> over = std::exchange(sampling_, nullptr);
    if (over != nullptr) GiveRows(*over, ClosedError());  // stopped: it is only let go
  }

  void TakeRows(const std::shared_ptr<Sampling>& sampling, absl::StatusOr<SampledRows> rows) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || sampling_ != sampling || sampling->stopped) return;
    if (rows.ok()) {
      for (const SampledRow& row : rows->rows) tokens_.push_back(row.id);
      sampling->gave |= !rows->rows.empty();
    } else if (!absl::IsInvalidArgument(rows.status())) {
      broken_ = rows.status();
    } else if (!sampling->gave) {
      PutBackTokens();
    } else {
      // The session is not as before, which this code would say.
      rows = absl::InternalError(
          absl::StrCat("M's server refuses to go on: ", rows.status().message()));
      broken_ = rows.status();
    }
    const bool last = !rows.ok() || rows->ended;
    GiveRows(*sampling, std::move(rows));
    if (last && sampling_ == sampling) sampling_ = nullptr;
  }

  // Calls `rows`, unless it has been stopped, and lets it go after the last call.
  void GiveRows(Sampling& sampling, absl::StatusOr<SampledRows> rows)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (closed_) return;
    const bool stopped = sampling.stopped;
    const bool last = stopped || !rows.ok() || rows->ended;
    answering_ = true;
    mutex_.Unlock();
    if (!stopped) sampling.rows(std::move(rows));
    if (last) sampling.rows = nullptr;  // what it holds is released before Close may return
    mutex_.Lock();
    answering_ = false;
  }

  const ExchangeOptions options_;
  const std::unique_ptr<ExchangeClient> client_;

  absl::Mutex mutex_;
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  bool working_ ABSL_GUARDED_BY(mutex_) = false;    // Work will run, or an exchange is under way
  bool answering_ ABSL_GUARDED_BY(mutex_) = false;  // a callback is running
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;     // no callback may be called any more
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
  std::vector<int32_t> tokens_ ABSL_GUARDED_BY(mutex_);
  int32_t known_ ABSL_GUARDED_BY(mutex_) = 0;                        // tokens that the server holds
  std::shared_ptr<Sampling> sampling_ ABSL_GUARDED_BY(mutex_);       // under way at the client
  std::shared_ptr<Sampling> last_sampling_ ABSL_GUARDED_BY(mutex_);  // if nothing was called since
  // Of the step or Sample that was begun last: what it rolled back, and to where.
  int32_t base_position_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<int32_t> replaced_ ABSL_GUARDED_BY(mutex_);
  // Of the front step.
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t to_ask_ ABSL_GUARDED_BY(mutex_) = 0;  // rows
  int64_t asked_ ABSL_GUARDED_BY(mutex_) = 0;
  UpstreamLogits result_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
};

class ExchangeSession : public UpstreamSession {
 public:
  ExchangeSession(std::shared_ptr<Exchanges> exchanges, bool samples)
      : exchanges_(std::move(exchanges)), samples_(samples) {}
  ~ExchangeSession() override { exchanges_->Close(); }

  void Step(UpstreamStep step, Callback done) override {
    exchanges_->Step(std::move(step), std::move(done));
  }

  void Sample(UpstreamSampling sampling, SampleCallback rows) override {
    if (samples_) {
      exchanges_->Sample(std::move(sampling), std::move(rows));
    } else {
      UpstreamSession::Sample(std::move(sampling), std::move(rows));
    }
  }

 private:
  const std::shared_ptr<Exchanges> exchanges_;
  const bool samples_;
};

}  // namespace

void ExchangeClient::Sample(ExchangeSampling, SampleCallback rows) {
  rows(absl::UnimplementedError("this kind of server draws no tokens by itself"));
}

std::unique_ptr<UpstreamSession> NewExchangeSession(const ExchangeOptions& options,
                                                    std::unique_ptr<ExchangeClient> client) {
  KeepCallbackThreads();
  return std::make_unique<ExchangeSession>(std::make_shared<Exchanges>(options, std::move(client)),
                                           options.samples);
}

}  // namespace unlearn
