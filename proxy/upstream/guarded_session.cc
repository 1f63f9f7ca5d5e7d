// A session that hands steps on one at a time, so that it knows the tokens that a new session would
// have to be given.

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/alarm.h"
#include "proxy/upstream/callback_threads.h"
#include "proxy/upstream/upstream_guard.h"

namespace unlearn {
namespace {

class Guarded : public std::enable_shared_from_this<Guarded> {
 public:
  Guarded(std::shared_ptr<UpstreamGuard> guard, std::unique_ptr<UpstreamSession> session,
          bool trial)
      : guard_(std::move(guard)), trial_(trial), session_(std::move(session)) {}

  void Step(UpstreamStep step, UpstreamSession::Callback done) {
    auto call = std::make_shared<Call>();
    call->step = std::move(step);
    call->done = std::move(done);
    Add(std::move(call));
  }

  void Sample(UpstreamSampling sampling, UpstreamSession::SampleCallback rows) {
    auto call = std::make_shared<Call>();
    call->sampling = std::move(sampling);
    call->rows = std::move(rows);
    Add(std::move(call));
  }

  // Afterwards no callback runs.
  void Close() {
    std::deque<std::shared_ptr<Call>> cancelled;
    std::unique_ptr<UpstreamSession> session;
    bool trial;
    {
      absl::MutexLock lock(&mutex_);
      closed_ = true;
      ++turn_;
      if (alarm_ != nullptr) alarm_->Cancel();
      mutex_.Await(absl::Condition(
          +[](int* users) { return *users == 0; }, &users_));
      cancelled.swap(calls_);
      session = std::move(session_);
      trial = std::exchange(trial_, false);
    }
    session.reset();
    if (trial) guard_->GiveTrialBack();
    for (const auto& call : cancelled) {
      if (call->done) call->done(absl::CancelledError("the session was closed"));
    }
  }

 private:
  // A step, or a sample.
  struct Call {
    UpstreamStep step;
    UpstreamSession::Callback done;
    UpstreamSampling sampling;
    UpstreamSession::SampleCallback rows;
    absl::Time sent;
    bool retried = false;
    absl::Status prefix_error;  // of what had to be sent before it
    // Rows that nobody has been called with yet, in order.
    std::deque<absl::StatusOr<SampledRows>> waiting;
    bool held = false;   // the first of them, until it is known who answered
    bool ended = false;  // the last is there
  };

  void Add(std::shared_ptr<Call> call) {
    absl::MutexLock lock(&mutex_);
    // The next call ends a sample early.
    if (active_ && !calls_.empty() && calls_.front()->rows) EndFront();
    calls_.push_back(std::move(call));
    Work();
  }

  void EndFront() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    calls_.pop_front();
    active_ = false;
    ++turn_;  // what still comes of it is void
  }

  // Hands the front call on, if nobody else's turn it is.
  void Work() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (active_ || calling_back_ || closed_ || calls_.empty()) return;
    active_ = true;
    const int64_t turn = ++turn_;
    const std::shared_ptr<Call> call = calls_.front();
    call->sent = guard_->Now();
    if (call->rows) {
      // They belong to the session whatever becomes of the sample.
      Extend(call->sampling.base_position, call->sampling.token_ids);
    }
    if (session_ == nullptr) {
      // Never on this thread, which may hold locks of the caller's.
      SetAlarm(absl::Now(), [turn](Guarded& guarded) { guarded.Refuse(turn); });
      return;
    }
    ++users_;
    mutex_.Unlock();
    if (call->rows) {
      session_->Sample(call->sampling, [self = shared_from_this(), turn](auto rows) {
        self->TakeRows(turn, std::move(rows));
      });
    } else {
      Send(call, turn);
    }
    mutex_.Lock();
    --users_;
  }

  void Send(const std::shared_ptr<Call>& call, int64_t turn) {
    session_->Step(call->step, [self = shared_from_this(), turn](auto logits) {
      self->TakeLogits(turn, std::move(logits));
    });
  }

  void TakeLogits(int64_t turn, absl::StatusOr<UpstreamLogits> logits) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || turn != turn_) return;
    const std::shared_ptr<Call> call = calls_.front();
    if (!call->prefix_error.ok()) logits = call->prefix_error;
    Judge(logits.status(), *call);
    if (!logits.ok()) {
      if (!call->retried && RetryLater(turn, logits.status())) return;
      Answer(std::move(logits));
      return;
    }
    // Held by both, since it may be wanted here or there.
    const auto held = std::make_shared<absl::StatusOr<UpstreamLogits>>(std::move(logits));
    const absl::StatusOr<bool> may =
        guard_->MayPass([self = shared_from_this(), turn, held](const absl::Status& status) {
          absl::MutexLock lock(&self->mutex_);
          if (self->closed_ || turn != self->turn_) return;
          if (status.ok()) {
            self->Answer(std::move(*held));
          } else {
            self->Judge(status, *self->calls_.front());
            self->Answer(status);
          }
        });
    if (!may.ok()) {
      Answer(may.status());
    } else if (*may) {
      Answer(std::move(*held));
    }
  }

  // Calls the front step back.
  void Answer(absl::StatusOr<UpstreamLogits> logits) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const std::shared_ptr<Call> call = calls_.front();
    if (logits.ok()) {
      Extend(call->step.base_position, call->step.token_ids);
    } else if (!absl::IsInvalidArgument(logits.status())) {
      Extend(call->step.base_position, {});
    }
    if (call->retried) guard_->CountRetry(logits.ok());
    EndFront();
    calling_back_ = true;
    ++users_;
    mutex_.Unlock();
    call->done(std::move(logits));
    call->done = nullptr;  // what it holds is released before Close may return
    mutex_.Lock();
    --users_;
    calling_back_ = false;
    Work();
  }

  // Rows of the sample. Those that come while earlier ones are held or with the caller wait.
  void TakeRows(int64_t turn, absl::StatusOr<SampledRows> rows) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || turn != turn_) return;
    const std::shared_ptr<Call> call = calls_.front();
    if (rows.ok() || call->waiting.empty()) Judge(rows.status(), *call);
    call->waiting.push_back(std::move(rows));
    if (!call->held && !calling_back_) PassRows(turn, call);
  }

  void PassRows(int64_t turn, const std::shared_ptr<Call>& call)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (!closed_ && turn == turn_ && !call->held && !call->waiting.empty()) {
      if (call->waiting.front().ok()) {
        call->held = true;
        const absl::StatusOr<bool> may =
            guard_->MayPass([self = shared_from_this(), turn, call](const absl::Status& status) {
              absl::MutexLock lock(&self->mutex_);
              call->held = false;
              if (self->closed_ || turn != self->turn_) return;
              if (!status.ok()) call->waiting.assign(1, status);
              if (self->calling_back_) return;  // that thread goes on
              self->PassRow(call);
              self->PassRows(turn, call);
            });
        if (may.ok() && !*may) return;
        call->held = false;
        if (!may.ok()) call->waiting.assign(1, may.status());
      }
      PassRow(call);
    }
  }

  // The first waiting rows go to the caller.
  void PassRow(const std::shared_ptr<Call>& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    absl::StatusOr<SampledRows> rows = std::move(call->waiting.front());
    call->waiting.pop_front();
    if (rows.ok()) {
      for (const SampledRow& row : rows->rows) tokens_.push_back(row.id);
    }
    if (!rows.ok() || rows->ended) EndFront();
    calling_back_ = true;
    ++users_;
    mutex_.Unlock();
    call->rows(std::move(rows));
    mutex_.Lock();
    --users_;
    calling_back_ = false;
    Work();
  }

  // The session holds these from there on.
  void Extend(int32_t base_position, const std::vector<int32_t>& token_ids)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (base_position < 0 || base_position > static_cast<int64_t>(tokens_.size())) return;
    tokens_.resize(base_position);
    tokens_.insert(tokens_.end(), token_ids.begin(), token_ids.end());
  }

  void Judge(const absl::Status& status, const Call& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    guard_->Judge(status, call.sent);
    if (std::exchange(trial_, false)) guard_->GiveTrialBack();
  }

  bool RetryLater(int64_t turn, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (calls_.front()->step.base_position > static_cast<int64_t>(tokens_.size())) return false;
    const std::optional<absl::Duration> delay = guard_->RetryIn(status);
    if (!delay.has_value()) return false;
    calls_.front()->retried = true;
    SetAlarm(absl::Now() + *delay, [turn](Guarded& guarded) { guarded.Retry(turn); });
    return true;
  }

  void SetAlarm(absl::Time when, std::function<void(Guarded&)> run)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(absl::ToChronoTime(when), [self = shared_from_this(), run](bool) mutable {
      // Moved out: the alarm, which we own, keeps this function.
      const std::shared_ptr<Guarded> guarded = std::move(self);
      run(*guarded);
    });
  }

  // There is no session to hand the front call on to.
  void Refuse(int64_t turn) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || turn != turn_) return;
    const std::shared_ptr<Call> call = calls_.front();
    if (call->done) {
      Answer(broken_);
    } else {
      call->waiting.assign(1, broken_);
      PassRow(call);
    }
  }

  // Nothing of the step has been answered, so nobody can have used it: the same law is asked for
  // again, in a new session that is given the whole prefix first.
  void Retry(int64_t turn) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || turn != turn_) return;
    const std::shared_ptr<Call> call = calls_.front();
    turn = ++turn_;
    UpstreamStep prefix;
    prefix.positions = UpstreamStep::Positions::kNone;
    prefix.token_ids.assign(tokens_.begin(), tokens_.begin() + call->step.base_position);
    std::unique_ptr<UpstreamSession> before = std::move(session_);
    ++users_;
    mutex_.Unlock();
    before.reset();
    bool trial = false;
    absl::StatusOr<std::unique_ptr<UpstreamSession>> fresh = guard_->NewSession(&trial);
    mutex_.Lock();
    trial_ = trial;
    if (fresh.ok()) {
      session_ = *std::move(fresh);
      call->sent = guard_->Now();
      mutex_.Unlock();
      if (!prefix.token_ids.empty()) {
        session_->Step(std::move(prefix), [self = shared_from_this(), call](auto logits) {
          absl::MutexLock lock(&self->mutex_);
          call->prefix_error = logits.status();
        });
      }
      Send(call, turn);
      mutex_.Lock();
      --users_;
      return;
    }
    // Later steps are told the same.
    session_ = nullptr;
    broken_ = fresh.status();
    --users_;
    if (!closed_) Answer(broken_);
  }

  const std::shared_ptr<UpstreamGuard> guard_;

  absl::Mutex mutex_;
  bool trial_ ABSL_GUARDED_BY(mutex_);
  // Used without the lock by whose turn it is.
  std::unique_ptr<UpstreamSession> session_;
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);  // without a session
  std::deque<std::shared_ptr<Call>> calls_ ABSL_GUARDED_BY(mutex_);
  bool active_ ABSL_GUARDED_BY(mutex_) = false;  // the front call was handed on
  int64_t turn_ ABSL_GUARDED_BY(mutex_) = 0;     // of which handing on an answer must be
  bool calling_back_ ABSL_GUARDED_BY(mutex_) = false;
  int users_ ABSL_GUARDED_BY(mutex_) = 0;  // threads that are with the session or a caller
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<int32_t> tokens_ ABSL_GUARDED_BY(mutex_);  // that the session holds
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
};

class GuardedSession : public UpstreamSession {
 public:
  explicit GuardedSession(std::shared_ptr<Guarded> guarded) : guarded_(std::move(guarded)) {}
  ~GuardedSession() override { guarded_->Close(); }

  void Step(UpstreamStep step, Callback done) override {
    guarded_->Step(std::move(step), std::move(done));
  }
  void Sample(UpstreamSampling sampling, SampleCallback rows) override {
    guarded_->Sample(std::move(sampling), std::move(rows));
  }

 private:
  const std::shared_ptr<Guarded> guarded_;
};

}  // namespace

std::unique_ptr<UpstreamSession> NewGuardedSession(std::shared_ptr<UpstreamGuard> guard,
                                                   std::unique_ptr<UpstreamSession> session,
                                                   bool trial) {
  KeepCallbackThreads();
  return std::make_unique<GuardedSession>(
      std::make_shared<Guarded>(std::move(guard), std::move(session), trial));
}

}  // namespace unlearn
