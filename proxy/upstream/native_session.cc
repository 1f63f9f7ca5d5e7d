#include "proxy/upstream/native_session.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/alarm.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "proxy/transport/grpc_status.h"
#include "proxy/upstream/callback_threads.h"
#include "proxy/upstream/logits_codec.h"
#include "proxy/upstream/retry_after.h"
#include "proxy/upstream/step_answer.h"
#include "proxy/upstream/step_check.h"

namespace unlearn {
namespace {

// gRPC keeps a pointer to it.
const std::string& SessionMethod() {
  static const auto* const method = new std::string("/unlearn.v1.UpstreamService/Session");
  return *method;
}

absl::Status ClosedError() { return absl::CancelledError("the session was closed"); }

v1::Positions ToProto(UpstreamStep::Positions positions) {
  switch (positions) {
    case UpstreamStep::Positions::kNone:
      return v1::POSITIONS_NONE;
    case UpstreamStep::Positions::kAll:
      return v1::POSITIONS_ALL;
    case UpstreamStep::Positions::kLast:
      break;
  }
  return v1::POSITIONS_LAST;
}

// The reactor of one stream. Owned by the session and by itself until gRPC is done with it.
class Stream : public grpc::ClientBidiReactor<v1::StepRequest, grpc::ByteBuffer>,
               public std::enable_shared_from_this<Stream> {
 public:
  explicit Stream(std::shared_ptr<const NativeConnection> connection)
      : connection_(std::move(connection)) {}

  void Start() {
    self_ = shared_from_this();
    // Answers come as the bytes that they are: protobuf's message would copy the logits.
    grpc::TemplatedGenericStub<v1::StepRequest, grpc::ByteBuffer>(connection_->channel)
        .PrepareBidiStreamingCall(&context_, SessionMethod(), {}, this);
    // Writes are started by Step, outside of reactions.
    AddHold();
    StartCall();
  }

  void Step(UpstreamStep step, UpstreamSession::Callback done) {
    absl::MutexLock lock(&mutex_);
    absl::Status status = broken_.ok() ? CheckStep(step, length_, connection_->info.max_context,
                                                   connection_->info.vocab_size)
                                       : broken_;
    if (!status.ok()) {
      Pending& refused = pending_.emplace_back();
      refused.error = std::move(status);
      refused.done = std::move(done);
      // Answered in its turn and never on this thread, which may hold locks of the caller's.
      if (pending_.size() == 1) ScheduleFlush();
      return;
    }
    const absl::Time deadline = absl::Now() + connection_->step_timeout;
    const int64_t tokens = step.token_ids.size();
    const int64_t row_bytes =
        connection_->info.vocab_size * static_cast<int64_t>(EncodedSize(connection_->encoding));
    const int64_t part = step.positions == UpstreamStep::Positions::kAll
                             ? std::max<int64_t>(1, connection_->max_answer_bytes / row_bytes)
                             : std::max<int64_t>(1, tokens);
    for (int64_t begin = 0; begin == 0 || begin < tokens; begin += part) {
      const int64_t end = std::min(begin + part, tokens);
      v1::StepRequest& request = outgoing_.emplace_back();
      request.set_base_position(static_cast<int32_t>(step.base_position + begin));
      request.mutable_token_ids()->Add(step.token_ids.begin() + begin,
                                       step.token_ids.begin() + end);
      request.set_positions(ToProto(step.positions));
      request.set_encoding(connection_->encoding);
      Pending& pending = pending_.emplace_back();
      pending.deadline = deadline;
      pending.length = step.base_position + end;
      pending.rows = step.positions == UpstreamStep::Positions::kAll    ? end - begin
                     : step.positions == UpstreamStep::Positions::kLast ? 1
                                                                        : 0;
      if (end == tokens) pending.done = std::move(done);
    }
    length_ = step.base_position + tokens;
    ArmTimeout(deadline);
    WriteNext();
  }

  // Afterwards no callback runs.
  void Close() {
    std::deque<Pending> cancelled;
    {
      absl::MutexLock lock(&mutex_);
      if (broken_.ok()) broken_ = ClosedError();
      closed_ = true;
      mutex_.Await(absl::Condition(
          +[](bool* answering) { return !*answering; }, &answering_));
      cancelled.swap(pending_);
      if (timeout_alarm_ != nullptr) timeout_alarm_->Cancel();
    }
    context_.TryCancel();
    for (Pending& pending : cancelled) {
      if (pending.done) pending.done(ClosedError());
    }
  }

  void OnReadInitialMetadataDone(bool ok) override {
    if (ok) {
      const auto& metadata = context_.GetServerInitialMetadata();
      const auto model = metadata.find(kModelMetadata);
      if (model != metadata.end() &&
          absl::string_view(model->second.data(), model->second.size()) !=
              ModelMetadata(connection_->info)) {
        Break(absl::FailedPreconditionError(absl::StrCat(
            "the upstream ", connection_->address,
            " serves another model now than when it was opened (", connection_->info.model_id,
            "); start that model again, or restart this process to use the new one")));
      }
    }
    StartRead(&response_);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return;  // the stream has ended; OnDone says why
    absl::MutexLock lock(&mutex_);
    outgoing_.pop_front();
    writing_ = false;
    WriteNext();
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      absl::MutexLock lock(&mutex_);
      ended_ = true;
      RemoveHold();
      return;
    }
    const absl::Status status = TakeResponse();
    if (!status.ok()) Break(status);
    StartRead(&response_);
    Flush();
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<Stream> self = std::move(self_);
    {
      absl::MutexLock lock(&mutex_);
      ended_ = true;
    }
    Break(status.ok()
              ? absl::UnavailableError(
                    absl::StrCat("the upstream ", connection_->address, " ended the session"))
              : WithRetryAfter(NativeError(connection_->address, status), RetryPushback(context_)));
  }

 private:
  struct Pending {
    UpstreamSession::Callback done;  // empty for a part that is not a step's last
    absl::Time deadline = absl::InfiniteFuture();
    int64_t rows = 0;
    int64_t length = 0;
    absl::Status error;     // refused here, never sent
    bool answered = false;  // `result` is complete
    UpstreamLogits result;
  };

  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || ended_ || !broken_.ok() || outgoing_.empty()) return;
    writing_ = true;
    StartWrite(&outgoing_.front());
  }

  // Checks response_ and adds its rows to the step it answers.
  absl::Status TakeResponse() {
    int64_t rows = 0;
    int64_t length = 0;
    {
      absl::MutexLock lock(&mutex_);
      if (!broken_.ok()) return absl::OkStatus();
      const auto pending = FirstUnanswered();
      if (pending == pending_.end()) return Malformed("an answer that nobody asked for");
      rows = pending->rows;
      length = pending->length;
    }
    // Without the lock: a row of a large vocabulary takes a while, and only this thread reads.
    const absl::StatusOr<StepAnswer> answer = ReadStepAnswer(
        response_, rows * connection_->info.vocab_size, connection_->encoding, &partial_.logits);
    response_.Clear();
    if (!answer.ok()) return Malformed(answer.status().message());
    if (answer->length != length) {
      return Malformed(absl::StrCat("length ", answer->length, " where ", length, " was expected"));
    }
    if (answer->rows != rows) {
      return Malformed(absl::StrCat(answer->rows, " rows where ", rows, " were expected"));
    }
    if (answer->rows > 0 && answer->encoding != connection_->encoding) {
      return Malformed("logits in another encoding than was asked for");
    }
    if (!answer->logits.ok()) return Malformed(answer->logits.message());
    partial_.rows += rows;
    absl::MutexLock lock(&mutex_);
    const auto pending = FirstUnanswered();
    if (pending == pending_.end()) return absl::OkStatus();  // closed meanwhile
    pending->answered = true;
    if (pending->done) pending->result = std::exchange(partial_, UpstreamLogits());
    return absl::OkStatus();
  }

  std::deque<Pending>::iterator FirstUnanswered() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::find_if(pending_.begin(), pending_.end(), [](const Pending& pending) {
      return !pending.answered && pending.error.ok();
    });
  }

  absl::Status Malformed(absl::string_view what) const {
    return absl::InternalError(absl::StrCat("the upstream ", connection_->address, " sent ", what,
                                            "; is it an unlearn_model_server of this version?"));
  }

  // No step can be answered by the server any more. The first reason stays.
  void Break(const absl::Status& status) {
    {
      absl::MutexLock lock(&mutex_);
      if (broken_.ok()) broken_ = status;
      for (Pending& pending : pending_) {
        if (!pending.answered && pending.error.ok()) pending.error = broken_;
      }
      if (timeout_alarm_ != nullptr) timeout_alarm_->Cancel();
      if (!ended_) context_.TryCancel();
    }
    Flush();
  }

  // Calls back for the steps at the front that have their result or error. One thread at a time.
  void Flush() {
    absl::MutexLock lock(&mutex_);
    if (answering_) return;  // that thread goes on until nothing is left
    while (!closed_ && !pending_.empty() &&
           (pending_.front().answered || !pending_.front().error.ok())) {
      Pending pending = std::move(pending_.front());
      pending_.pop_front();
      if (!pending.done) continue;
      answering_ = true;
      mutex_.Unlock();
      if (pending.error.ok()) {
        pending.done(std::move(pending.result));
      } else {
        pending.done(pending.error);
      }
      pending.done = nullptr;  // what it holds is released before Close may return
      mutex_.Lock();
      answering_ = false;
    }
  }

  void ScheduleFlush() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    flush_alarm_ = std::make_unique<grpc::Alarm>();
    flush_alarm_->Set(gpr_now(GPR_CLOCK_MONOTONIC), [self = shared_from_this()](bool) mutable {
      // Moved out: the alarm, which we own, keeps this function.
      const std::shared_ptr<Stream> stream = std::move(self);
      stream->Flush();
    });
  }

  // One alarm is enough: all steps have the same timeout, so the first is the first to be late.
  void ArmTimeout(absl::Time deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (timeout_armed_ || deadline == absl::InfiniteFuture()) return;
    timeout_armed_ = true;
    timeout_alarm_ = std::make_unique<grpc::Alarm>();
    timeout_alarm_->Set(absl::ToChronoTime(deadline), [self = shared_from_this()](bool) mutable {
      const std::shared_ptr<Stream> stream = std::move(self);
      stream->CheckTimeout();
    });
  }

  void CheckTimeout() {
    {
      absl::MutexLock lock(&mutex_);
      timeout_armed_ = false;
      if (closed_ || !broken_.ok()) return;
      const auto first = FirstUnanswered();
      if (first == pending_.end()) return;  // the next step arms it again
      if (absl::Now() < first->deadline) {
        ArmTimeout(first->deadline);
        return;
      }
    }
    Break(absl::DeadlineExceededError(
        absl::StrCat("the upstream ", connection_->address, " did not answer a step within ",
                     absl::FormatDuration(connection_->step_timeout),
                     "; if it is only slow, raise the step timeout")));
  }

  const std::shared_ptr<const NativeConnection> connection_;
  grpc::ClientContext context_;
  grpc::ByteBuffer response_;  // of the read in progress
  UpstreamLogits partial_;     // parts of the step being answered; of the reading thread
  std::shared_ptr<Stream> self_;

  absl::Mutex mutex_;
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::StepRequest> outgoing_ ABSL_GUARDED_BY(mutex_);  // the first may be in writing
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;   // no operation may be started any more
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;  // no callback may be called any more
  bool answering_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t length_ ABSL_GUARDED_BY(mutex_) = 0;  // after all steps that were sent
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
  bool timeout_armed_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<grpc::Alarm> timeout_alarm_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Alarm> flush_alarm_ ABSL_GUARDED_BY(mutex_);
};

class NativeSession : public UpstreamSession {
 public:
  explicit NativeSession(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
  ~NativeSession() override { stream_->Close(); }

  void Step(UpstreamStep step, Callback done) override {
    stream_->Step(std::move(step), std::move(done));
  }

 private:
  const std::shared_ptr<Stream> stream_;
};

}  // namespace

std::string ModelMetadata(const UpstreamInfo& info) {
  return absl::StrCat(info.weights_fingerprint, "/", info.tokenizer_fingerprint);
}

absl::Status NativeError(const std::string& address, const grpc::Status& status) {
  const absl::Status plain = FromGrpcStatus(status);
  const std::string what = absl::StrCat("the upstream ", address, ": ", plain.message());
  switch (plain.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kFailedPrecondition:
      return absl::Status(plain.code(), what);
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return absl::Status(plain.code(), absl::StrCat(what, " (see --upstream_token_file)"));
    case absl::StatusCode::kUnimplemented:
      return absl::UnimplementedError(
          absl::StrCat(what, "; this address does not speak unlearn.v1.UpstreamService"));
    default:
      return absl::UnavailableError(
          absl::StrCat(what, "; check that unlearn_model_server runs there and look at its log"));
  }
}

std::unique_ptr<UpstreamSession> NewNativeSession(
    std::shared_ptr<const NativeConnection> connection) {
  KeepCallbackThreads();
  auto stream = std::make_shared<Stream>(std::move(connection));
  stream->Start();
  return std::make_unique<NativeSession>(std::move(stream));
}

}  // namespace unlearn
