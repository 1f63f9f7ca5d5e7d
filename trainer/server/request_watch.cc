#include "trainer/server/request_watch.h"

#include <utility>

#include "google/protobuf/util/message_differencer.h"
#include "proxy/transport/grpc_status.h"
#include "trainer/queue/request_states.h"

namespace unlearn {

RequestWatch::RequestWatch(RequestQueue* queue, std::string request_id,
                           std::function<void(RequestWatch*)> on_done)
    : queue_(queue),
      request_id_(std::move(request_id)),
      on_done_(std::move(on_done)),
      link_(std::make_shared<Link>()) {
  absl::MutexLock lock(&link_->mutex);
  link_->watch = this;
}

void RequestWatch::Start() {
  listener_ =
      queue_->changes().AddListener([link = link_, id = request_id_](const std::string& changed) {
        if (changed != id) return;
        absl::MutexLock lock(&link->mutex);
        if (link->watch != nullptr) link->watch->Changed();
      });
  Changed();
}

void RequestWatch::Changed() {
  absl::MutexLock lock(&mutex_);
  Advance();
}

void RequestWatch::Advance() {
  if (finished_ || writing_) return;  // OnWriteDone comes back here
  if (ending_) return FinishOnce(end_);
  const auto queued = queue_->Get(request_id_);
  if (!queued.ok()) return FinishOnce(ToGrpcStatus(queued.status()));
  if (!any_sent_ || !google::protobuf::util::MessageDifferencer::Equals(sent_, queued->request)) {
    sent_ = queued->request;
    any_sent_ = true;
    writing_ = true;
    StartWrite(&sent_);
    return;
  }
  // A withdrawn request lasts once its text is gone.
  if (IsLasting(sent_.state()) && (sent_.state() != v1::CANCELLED || queued->erased)) {
    FinishOnce(grpc::Status::OK);
  }
}

void RequestWatch::FinishOnce(const grpc::Status& status) {
  if (finished_) return;
  finished_ = true;
  Finish(status);
}

void RequestWatch::End(const grpc::Status& status) {
  absl::MutexLock lock(&mutex_);
  ending_ = true;
  end_ = status;
  Advance();
}

void RequestWatch::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  if (!ok) return FinishOnce(grpc::Status(grpc::StatusCode::CANCELLED, "the caller went away"));
  Advance();
}

void RequestWatch::OnCancel() {
  End(grpc::Status(grpc::StatusCode::CANCELLED, "the call was cancelled"));
}

void RequestWatch::OnDone() {
  {
    absl::MutexLock lock(&link_->mutex);
    link_->watch = nullptr;
  }
  // 0 only if the stream ended before Start() had registered it; then nothing is to be removed.
  queue_->changes().RemoveListener(listener_);
  on_done_(this);
  delete this;
}

}  // namespace unlearn
