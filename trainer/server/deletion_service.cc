#include "trainer/server/deletion_service.h"

#include <algorithm>
#include <string>

#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "proxy/transport/grpc_status.h"
#include "trainer/data/item_check.h"
#include "trainer/server/request_watch.h"

namespace unlearn {
namespace {

// A stream that ends at once.
class EndedWatch : public grpc::ServerWriteReactor<v1::DeletionRequest> {
 public:
  explicit EndedWatch(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

grpc::Status Draining() {
  return grpc::Status(grpc::StatusCode::UNAVAILABLE,
                      "the trainer is shutting down; accepted requests are kept, watch again");
}

}  // namespace

DeletionServiceImpl::DeletionServiceImpl(RequestQueue* queue, RequestRunner* runner,
                                         const Authenticator* authenticator,
                                         absl::Duration erasure_wait)
    : queue_(queue), runner_(runner), authenticator_(authenticator), erasure_wait_(erasure_wait) {}

DeletionServiceImpl::~DeletionServiceImpl() = default;

grpc::Status DeletionServiceImpl::Answer(const std::string& id,
                                         v1::DeletionRequest* response) const {
  auto queued = queue_->Get(id);
  if (!queued.ok()) return ToGrpcStatus(queued.status());
  *response = std::move(queued->request);
  return grpc::Status::OK;
}

grpc::Status DeletionServiceImpl::Submit(grpc::ServerContext* context,
                                         const v1::SubmitRequest* request,
                                         v1::SubmitResponse* response) {
  absl::Status status = authenticator_->Authenticate(*context).status();
  if (status.ok()) status = CheckSubmitRequest(*request);
  if (!status.ok()) return ToGrpcStatus(status);
  auto id = queue_->Submit(*request);
  if (!id.ok()) return ToGrpcStatus(id.status());
  response->set_request_id(*std::move(id));
  return grpc::Status::OK;
}

grpc::Status DeletionServiceImpl::Get(grpc::ServerContext* context, const v1::GetRequest* request,
                                      v1::DeletionRequest* response) {
  const auto caller = authenticator_->Authenticate(*context);
  if (!caller.ok()) return ToGrpcStatus(caller.status());
  return Answer(request->request_id(), response);
}

grpc::Status DeletionServiceImpl::List(grpc::ServerContext* context, const v1::ListRequest*,
                                       v1::ListResponse* response) {
  const auto caller = authenticator_->Authenticate(*context);
  if (!caller.ok()) return ToGrpcStatus(caller.status());
  auto requests = queue_->List();
  if (!requests.ok()) return ToGrpcStatus(requests.status());
  for (QueuedRequest& queued : *requests) *response->add_requests() = std::move(queued.request);
  return grpc::Status::OK;
}

grpc::Status DeletionServiceImpl::Cancel(grpc::ServerContext* context,
                                         const v1::GetRequest* request,
                                         v1::DeletionRequest* response) {
  absl::Status status = authenticator_->Authenticate(*context).status();
  if (status.ok()) status = runner_->Cancel(request->request_id());
  if (!status.ok()) return ToGrpcStatus(status);
  // The answer says whether the text is gone or still being erased; either way it is CANCELLED.
  const absl::Time deadline = std::min(
      absl::FromChrono(context->deadline()) - absl::Milliseconds(100), absl::Now() + erasure_wait_);
  runner_->WaitUntilErased(request->request_id(), deadline).IgnoreError();
  return Answer(request->request_id(), response);
}

grpc::Status DeletionServiceImpl::Retry(grpc::ServerContext* context,
                                        const v1::RetryRequest* request,
                                        v1::DeletionRequest* response) {
  absl::Status status = authenticator_->Authenticate(*context).status();
  absl::optional<v1::TrainingSettings> settings;
  if (request->has_settings()) settings = request->settings();
  if (status.ok() && settings.has_value()) status = CheckTrainingSettings(*settings);
  if (status.ok()) status = queue_->Retry(request->request_id(), settings);
  if (!status.ok()) return ToGrpcStatus(status);
  return Answer(request->request_id(), response);
}

grpc::ServerWriteReactor<v1::DeletionRequest>* DeletionServiceImpl::Watch(
    grpc::CallbackServerContext* context, const v1::GetRequest* request) {
  const auto caller = authenticator_->Authenticate(*context);
  if (!caller.ok()) return new EndedWatch(ToGrpcStatus(caller.status()));
  RequestWatch* watch = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    if (ending_) return new EndedWatch(Draining());
    watch = new RequestWatch(queue_, request->request_id(), [this](RequestWatch* done) {
      absl::MutexLock lock(&mutex_);
      watches_.erase(done);
    });
    watches_.insert(watch);
  }
  watch->Start();
  return watch;
}

void DeletionServiceImpl::EndWatches() {
  // OnDone takes the mutex before a watch goes away, so that those in the set are alive.
  absl::MutexLock lock(&mutex_);
  ending_ = true;
  for (RequestWatch* watch : watches_) watch->End(Draining());
}

}  // namespace unlearn
