#include "proxy/server/generate_call.h"

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proxy/decode/text_assembler.h"
#include "proxy/transport/grpc_status.h"

namespace unlearn {
namespace {

class GenerateCall : public grpc::ServerWriteReactor<v1::GenerateResponse>,
                     public StreamSink,
                     public std::enable_shared_from_this<GenerateCall> {
 public:
  GenerateCall(Scheduler* scheduler, std::shared_ptr<const Tokenizer> tokenizer,
               std::vector<std::string> stop, const GenerateCallOptions& options)
      : scheduler_(scheduler),
        decoding_(options.decoding),
        shows_bounds_(options.shows_bounds),
        text_(std::move(tokenizer), std::move(stop)) {}

  void Start(StreamTask task) {
    self_ = shared_from_this();
    prompt_tokens_ = static_cast<int32_t>(task.prompt.size());
    absl::StatusOr<std::shared_ptr<Scheduler::Stream>> stream =
        scheduler_->Submit(std::move(task), shared_from_this());
    if (!stream.ok()) {
      Finish(ToGrpcStatus(stream.status()));
      return;
    }
    absl::MutexLock lock(&mutex_);
    stream_ = *std::move(stream);
    if (cancelled_) scheduler_->Cancel(stream_);
  }

  // StreamSink, on the scheduler's thread:

  bool OnToken(const DrawnToken& token) override {
    absl::MutexLock lock(&mutex_);
    ++completion_tokens_;
    v1::GeneratedToken& out = *pending_.add_tokens();
    out.set_id(token.id);
    out.set_logprob(token.logprob);
    out.set_offset_version(token.offset_version);
    if (shows_bounds_) {
      out.set_logprob_error_bound(token.logprob_error);
      out.set_truncated_mass_upper_bound(token.truncated_mass);
      out.set_truncated(token.truncated);
    }
    if (!token.is_end) pending_.mutable_text()->append(text_.Append(token.id));
    has_pending_ = true;
    MaybeWrite();
    return !text_.stopped();
  }

  void OnDone(const absl::Status& status, bool hit_end, const StreamTiming& timing) override {
    absl::MutexLock lock(&mutex_);
    done_ = true;
    status_ = status;
    if (status.ok()) {
      pending_.mutable_text()->append(text_.Finish());
      pending_.set_finish_reason(hit_end || text_.stopped() ? v1::FINISH_REASON_STOP
                                                            : v1::FINISH_REASON_LENGTH);
      pending_.mutable_usage()->set_prompt_tokens(prompt_tokens_);
      pending_.mutable_usage()->set_completion_tokens(completion_tokens_);
      v1::Timing& out = *pending_.mutable_timing();
      out.set_ttft_ms(absl::ToDoubleMilliseconds(timing.first_token));
      out.set_total_ms(absl::ToDoubleMilliseconds(timing.total));
      out.set_upstream_ms(absl::ToDoubleMilliseconds(timing.upstream));
      out.set_pair_ms(absl::ToDoubleMilliseconds(timing.pair));
      pending_.set_decoding(decoding_);
      has_pending_ = true;
    }
    MaybeWrite();
  }

  // gRPC's reactor, on its threads:

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) CancelStream();
    MaybeWrite();
  }

  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    CancelStream();
  }

  void OnDone() override { self_.reset(); }  // may destroy this

 private:
  void CancelStream() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    cancelled_ = true;
    if (stream_ != nullptr) scheduler_->Cancel(stream_);
  }

  void MaybeWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || ended_) return;
    if (has_pending_ && !cancelled_) {
      writing_ = true;
      has_pending_ = false;
      sent_ = std::exchange(pending_, v1::GenerateResponse());
      StartWrite(&sent_);
      return;
    }
    if (done_) {
      ended_ = true;
      Finish(ToGrpcStatus(status_));
    }
  }

  Scheduler* const scheduler_;
  const v1::Decoding decoding_;
  const bool shows_bounds_;
  int32_t prompt_tokens_ = 0;

  absl::Mutex mutex_;
  TextAssembler text_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Scheduler::Stream> stream_ ABSL_GUARDED_BY(mutex_);
  int32_t completion_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  v1::GenerateResponse pending_ ABSL_GUARDED_BY(mutex_);
  v1::GenerateResponse sent_ ABSL_GUARDED_BY(mutex_);
  bool has_pending_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);

  std::shared_ptr<GenerateCall> self_;  // held for gRPC until its OnDone
};

class RefusedCall : public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  explicit RefusedCall(const absl::Status& status) { Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerWriteReactor<v1::GenerateResponse>* StartGenerateCall(
    Scheduler* scheduler, StreamTask task, std::shared_ptr<const Tokenizer> tokenizer,
    std::vector<std::string> stop, const GenerateCallOptions& options) {
  auto call =
      std::make_shared<GenerateCall>(scheduler, std::move(tokenizer), std::move(stop), options);
  GenerateCall* const reactor = call.get();
  reactor->Start(std::move(task));
  return reactor;
}

grpc::ServerWriteReactor<v1::GenerateResponse>* RefuseGenerateCall(const absl::Status& status) {
  return new RefusedCall(status);
}

}  // namespace unlearn
