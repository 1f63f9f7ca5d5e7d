#include "proxy/server/score_call.h"

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proxy/transport/grpc_status.h"

namespace unlearn {
namespace {

class ScoreCall : public grpc::ServerUnaryReactor,
                  public StreamSink,
                  public std::enable_shared_from_this<ScoreCall> {
 public:
  ScoreCall(Scheduler* scheduler, v1::ScoreResponse* response)
      : scheduler_(scheduler), response_(response) {}

  void Start(StreamTask task) {
    self_ = shared_from_this();
    response_->set_offset_version(task.version->version);
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

  bool OnToken(const DrawnToken& token) override {
    response_->add_token_ids(token.id);
    response_->add_logprobs(token.logprob);
    response_->set_sum_logprob(response_->sum_logprob() + token.logprob);
    return true;
  }

  void OnDone(const absl::Status& status, bool hit_end, const StreamTiming& timing) override {
    Finish(ToGrpcStatus(status));
  }

  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (stream_ != nullptr) scheduler_->Cancel(stream_);
  }

  void OnDone() override { self_.reset(); }  // may destroy this

 private:
  Scheduler* const scheduler_;
  v1::ScoreResponse* const response_;  // gRPC's, alive until OnDone
  absl::Mutex mutex_;
  std::shared_ptr<Scheduler::Stream> stream_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<ScoreCall> self_;  // held for gRPC until its OnDone
};

}  // namespace

grpc::ServerUnaryReactor* StartScoreCall(Scheduler* scheduler, StreamTask task,
                                         v1::ScoreResponse* response) {
  auto call = std::make_shared<ScoreCall>(scheduler, response);
  ScoreCall* const reactor = call.get();
  reactor->Start(std::move(task));
  return reactor;
}

}  // namespace unlearn
