#include "proxy/model_server/upstream_service.h"

#include <deque>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "grpc/support/time.h"
#include "grpcpp/alarm.h"
#include "proxy/model_server/step_codec.h"
#include "proxy/transport/grpc_status.h"
#include "proxy/upstream/native_session.h"

namespace unlearn {
namespace {

// Answers of more numbers are encoded on a gRPC thread, so that the device thread runs on.
constexpr size_t kEncodeElsewhere = 64 << 10;

// gRPC's timers go by whole milliseconds, rounded up: what is due at once must not wait for one.
gpr_timespec AlarmTime(absl::Duration delay) {
  if (delay <= absl::ZeroDuration()) return gpr_inf_past(GPR_CLOCK_MONOTONIC);
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(absl::ToInt64Nanoseconds(delay), GPR_TIMESPAN));
}

prometheus::Counter& StepCounter(prometheus::Registry& registry, const std::string& result) {
  return prometheus::BuildCounter()
      .Name("unlearn_model_server_steps_total")
      .Help("Steps of all sessions, by result.")
      .Register(registry)
      .Add({{"result", result}});
}

}  // namespace

// One stream and its session of M. Owns itself until gRPC is done with it; steps under way hold it
// too, since they come back on threads that gRPC does not wait for.
class UpstreamServiceImpl::SessionReactor
    : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
      public std::enable_shared_from_this<SessionReactor> {
 public:
  // With an error the stream is only told so.
  SessionReactor(UpstreamServiceImpl* service,
                 absl::StatusOr<std::unique_ptr<UpstreamSession>> session)
      : service_(service) {
    if (session.ok()) {
      session_ = *std::move(session);
      service_->metrics_.sessions.Increment();
    } else {
      finish_ = session.status();
    }
  }

  void Start() {
    self_ = shared_from_this();
    absl::MutexLock lock(&mutex_);
    if (finish_.has_value()) {
      MaybeFinish();
    } else {
      StartRead(&request_);
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) {  // the client has sent all, or is gone
      absl::MutexLock lock(&mutex_);
      if (!finish_.has_value()) finish_ = absl::OkStatus();
      MaybeFinish();
      return;
    }
    absl::StatusOr<StepPlan> plan = ReadPlan();
    std::shared_ptr<UpstreamSession> session;
    UpstreamStep step;
    {
      absl::MutexLock lock(&mutex_);
      if (!plan.ok()) {
        service_->metrics_.failed_steps.Increment();
        if (!finish_.has_value()) finish_ = plan.status();
        MaybeFinish();
        return;
      }
      if (finish_.has_value()) return;  // cancelled
      session = session_;
      step_running_ = true;
      step = std::move(plan->step);
      step_tokens_ = step.token_ids.size();
      plan_ = *std::move(plan);
      started_ = absl::Now();
    }
    session->Step(std::move(step),
                  [self = shared_from_this()](absl::StatusOr<UpstreamLogits> logits) {
                    self->TakeResult(std::move(logits));
                  });
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    outgoing_.pop_front();
    if (!ok) outgoing_.clear();  // OnCancel follows
    WriteNext();
    MaybeFinish();
  }

  void OnCancel() override {
    std::shared_ptr<UpstreamSession> session;
    {
      absl::MutexLock lock(&mutex_);
      finish_ = absl::CancelledError("the call was cancelled");
      if (outgoing_.size() > 1) outgoing_.erase(outgoing_.begin() + 1, outgoing_.end());
      session = std::move(session_);
      session_ = nullptr;
      if (alarm_ != nullptr) alarm_->Cancel();
      MaybeFinish();
    }
    EndSession(std::move(session));  // answers the step under way
  }

  void OnDone() override {
    const std::shared_ptr<SessionReactor> self = std::move(self_);
    EndSession(std::move(session_));
    if (counted_) --service_->sessions_;
  }

  void set_counted() { counted_ = true; }

 private:
  void EndSession(std::shared_ptr<UpstreamSession> session) {
    if (session != nullptr) service_->metrics_.sessions.Decrement();
  }

  absl::StatusOr<StepPlan> ReadPlan() {
    v1::StepRequest request;
    if (!grpc::SerializationTraits<v1::StepRequest>::Deserialize(&request_, &request).ok()) {
      return absl::InvalidArgumentError("the message is no StepRequest");
    }
    return PlanStep(request, service_->upstream_->info());
  }

  // On a thread of M, which has better things to do than to wait or to encode.
  void TakeResult(absl::StatusOr<UpstreamLogits> logits) {
    const absl::Duration delay = service_->options_.delay;
    if (!logits.ok() ||
        (delay <= absl::ZeroDuration() && logits->logits.size() <= kEncodeElsewhere)) {
      Answer(std::move(logits));
      return;
    }
    absl::MutexLock lock(&mutex_);
    result_ = *std::move(logits);
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(AlarmTime(delay), [self = shared_from_this()](bool) mutable {
      // Moved out: the alarm, which we own, keeps this function.
      const std::shared_ptr<SessionReactor> reactor = std::move(self);
      reactor->Answer(std::move(reactor->result_));
    });
    // Cancelled before there was an alarm to cancel.
    if (session_ == nullptr) alarm_->Cancel();
  }

  void Answer(absl::StatusOr<UpstreamLogits> logits) {
    Metrics& metrics = service_->metrics_;
    absl::StatusOr<grpc::ByteBuffer> response =
        logits.ok() ? EncodeAnswer(plan_, *logits, service_->upstream_->info().vocab_size)
                    : logits.status();
    service_->UpdateFreeTokens();
    absl::MutexLock lock(&mutex_);
    step_running_ = false;
    if (response.ok()) {
      metrics.answered_steps.Increment();
      metrics.step_seconds.Observe(absl::ToDoubleSeconds(absl::Now() - started_));
      metrics.tokens.Increment(step_tokens_);
      if (!finish_.has_value()) {
        outgoing_.push_back(*std::move(response));
        WriteNext();
        StartRead(&request_);
      }
    } else {
      metrics.failed_steps.Increment();
      if (!finish_.has_value()) finish_ = response.status();
    }
    MaybeFinish();
  }

  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_ || outgoing_.empty()) return;
    writing_ = true;
    StartWrite(&outgoing_.front());
  }

  // Ends the stream once it has an end status, and all answers before it are written.
  void MaybeFinish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_ || !finish_.has_value() || step_running_ || writing_ || !outgoing_.empty()) {
      return;
    }
    finished_ = true;
    Finish(ToGrpcStatus(*finish_));
  }

  UpstreamServiceImpl* const service_;
  std::shared_ptr<SessionReactor> self_;
  bool counted_ = false;
  grpc::ByteBuffer request_;  // of the read in progress
  StepPlan plan_;             // of the step under way; its `step` is with M
  int64_t step_tokens_ = 0;
  UpstreamLogits result_;  // between M and the alarm

  absl::Mutex mutex_;
  std::shared_ptr<UpstreamSession> session_;  // null once cancelled
  std::deque<grpc::ByteBuffer> outgoing_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;       // the first of outgoing_
  bool step_running_ ABSL_GUARDED_BY(mutex_) = false;  // one at a time: the next read follows it
  absl::Time started_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> finish_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
};

UpstreamServiceImpl::Metrics::Metrics(prometheus::Registry& registry)
    : sessions(prometheus::BuildGauge()
                   .Name("unlearn_model_server_sessions")
                   .Help("Open sessions.")
                   .Register(registry)
                   .Add({})),
      free_tokens(prometheus::BuildGauge()
                      .Name("unlearn_model_server_kv_cache_free_tokens")
                      .Help("Positions of the KV cache that are free, as of the last step.")
                      .Register(registry)
                      .Add({})),
      tokens(prometheus::BuildCounter()
                 .Name("unlearn_model_server_tokens_total")
                 .Help("Tokens that answered steps have run.")
                 .Register(registry)
                 .Add({})),
      answered_steps(StepCounter(registry, "answered")),
      failed_steps(StepCounter(registry, "failed")),
      step_seconds(prometheus::BuildHistogram()
                       .Name("unlearn_model_server_step_seconds")
                       .Help("From a step's arrival until its answer is ready to be sent.")
                       .Register(registry)
                       .Add({}, prometheus::Histogram::BucketBoundaries{
                                    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                    0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30})) {}

UpstreamServiceImpl::UpstreamServiceImpl(Upstream* upstream, UpstreamServiceOptions options)
    : upstream_(upstream),
      options_(std::move(options)),
      registry_(options_.registry != nullptr ? options_.registry
                                             : std::make_shared<prometheus::Registry>()),
      metrics_(*registry_) {
  UpdateFreeTokens();
}

void UpstreamServiceImpl::UpdateFreeTokens() {
  if (options_.free_tokens) {
    metrics_.free_tokens.Set(static_cast<double>(options_.free_tokens()));
  }
}

grpc::ServerUnaryReactor* UpstreamServiceImpl::GetModelInfo(grpc::CallbackServerContext* context,
                                                            const v1::GetModelInfoRequest*,
                                                            v1::ModelInfo* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  if (options_.authenticator != nullptr) {
    const absl::Status status =
        options_.authenticator->Require(Role::kUser, *context, "the model's description");
    if (!status.ok()) {
      reactor->Finish(ToGrpcStatus(status));
      return reactor;
    }
  }
  const UpstreamInfo& info = upstream_->info();
  response->set_model_id(info.model_id);
  response->set_weights_fingerprint(info.weights_fingerprint);
  response->set_tokenizer_fingerprint(info.tokenizer_fingerprint);
  response->set_vocab_size(info.vocab_size);
  response->set_max_context(info.max_context);
  response->mutable_eos_token_ids()->Add(info.eos_token_ids.begin(), info.eos_token_ids.end());
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* UpstreamServiceImpl::Session(
    grpc::CallbackServerContext* context) {
  absl::Status status;
  if (options_.authenticator != nullptr) {
    status = options_.authenticator->Require(Role::kUser, *context, "the model's logits");
  }
  bool counted = false;
  if (status.ok()) {
    counted = true;
    if (++sessions_ > options_.max_sessions) {
      status = absl::ResourceExhaustedError(
          absl::StrCat("the model server has its ", options_.max_sessions,
                       " sessions already; retry later or raise --max_sessions"));
    }
  }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> session =
      status.ok() ? upstream_->NewSession() : std::move(status);
  context->AddInitialMetadata(kModelMetadata, ModelMetadata(upstream_->info()));
  const auto reactor = std::make_shared<SessionReactor>(this, std::move(session));
  if (counted) reactor->set_counted();
  reactor->Start();
  return reactor.get();
}

}  // namespace unlearn
