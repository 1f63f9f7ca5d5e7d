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
    absl::MutexLock lock(&mutex_);
    waiting_.push_back({std::move(step), std::move(done)});
    // Never on this thread, which may hold locks of the caller's.
    if (!working_) Schedule();
  }

  // Afterwards no callback runs.
  void Close() {
    std::deque<Waiting> cancelled;
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
    }
    for (Waiting& step : cancelled) step.done(ClosedError());
  }

 private:
  struct Waiting {
    UpstreamStep step;
    UpstreamSession::Callback done;
  };

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
      if (!begun_) {
        const absl::Status refused =
            broken_.ok() ? CheckStep(waiting_.front().step, static_cast<int64_t>(tokens_.size()),
                                     options_.max_context, options_.vocab_size)
                         : broken_;
        if (!refused.ok()) {
          Answer(refused);
          continue;
        }
        Begin();
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

  // Takes the front step's tokens over.
  void Begin() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const UpstreamStep& step = waiting_.front().step;
    replaced_.assign(tokens_.begin() + step.base_position, tokens_.end());
    tokens_.resize(step.base_position);
    tokens_.insert(tokens_.end(), step.token_ids.begin(), step.token_ids.end());
    // What the server holds beyond the roll-back is void, and it cannot be told so.
    if (known_ > step.base_position) known_ = 0;
    to_ask_ = step.positions == UpstreamStep::Positions::kLast  ? 1
              : step.positions == UpstreamStep::Positions::kAll ? step.token_ids.size()
                                                                : 0;
    asked_ = 0;
    begun_ = true;
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
          tokens_.resize(waiting_.front().step.base_position);
          tokens_.insert(tokens_.end(), replaced_.begin(), replaced_.end());
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

  const ExchangeOptions options_;
  const std::unique_ptr<ExchangeClient> client_;

  absl::Mutex mutex_;
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  bool working_ ABSL_GUARDED_BY(mutex_) = false;    // Work will run, or an exchange is under way
  bool answering_ ABSL_GUARDED_BY(mutex_) = false;  // a callback is running
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;     // no callback may be called any more
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
  std::vector<int32_t> tokens_ ABSL_GUARDED_BY(mutex_);
  int32_t known_ ABSL_GUARDED_BY(mutex_) = 0;  // tokens that the server holds
  // Of the front step, once begun.
  std::vector<int32_t> replaced_ ABSL_GUARDED_BY(mutex_);  // the tokens that it rolled back
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t to_ask_ ABSL_GUARDED_BY(mutex_) = 0;  // rows
  int64_t asked_ ABSL_GUARDED_BY(mutex_) = 0;
  UpstreamLogits result_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
};

class ExchangeSession : public UpstreamSession {
 public:
  explicit ExchangeSession(std::shared_ptr<Exchanges> exchanges)
      : exchanges_(std::move(exchanges)) {}
  ~ExchangeSession() override { exchanges_->Close(); }

  void Step(UpstreamStep step, Callback done) override {
    exchanges_->Step(std::move(step), std::move(done));
  }

 private:
  const std::shared_ptr<Exchanges> exchanges_;
};

}  // namespace

std::unique_ptr<UpstreamSession> NewExchangeSession(const ExchangeOptions& options,
                                                    std::unique_ptr<ExchangeClient> client) {
  KeepCallbackThreads();
  return std::make_unique<ExchangeSession>(std::make_shared<Exchanges>(options, std::move(client)));
}

}  // namespace unlearn
