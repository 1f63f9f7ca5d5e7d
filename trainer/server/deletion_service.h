#ifndef TRAINER_SERVER_DELETION_SERVICE_H_
#define TRAINER_SERVER_DELETION_SERVICE_H_

#include <memory>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "proto/unlearn/v1/deletion.grpc.pb.h"
#include "proxy/transport/authenticator.h"
#include "trainer/queue/request_queue.h"
#include "trainer/server/request_runner.h"

namespace unlearn {

class RequestWatch;

// The gRPC face of the queue and the runner. Watch holds no thread: it is driven by the queue's
// changes and by gRPC's callbacks. Thread-safe.
class DeletionServiceImpl final
    : public v1::DeletionService::WithCallbackMethod_Watch<v1::DeletionService::Service> {
 public:
  // All must outlive this; `runner` may be stopped. `erasure_wait`: how long Cancel waits for the
  // text to be gone before it answers (the deadline of the call also counts).
  DeletionServiceImpl(RequestQueue* queue, RequestRunner* runner,
                      const Authenticator* authenticator,
                      absl::Duration erasure_wait = absl::Seconds(30));
  ~DeletionServiceImpl() override;

  grpc::Status Submit(grpc::ServerContext* context, const v1::SubmitRequest* request,
                      v1::SubmitResponse* response) override;
  grpc::Status Get(grpc::ServerContext* context, const v1::GetRequest* request,
                   v1::DeletionRequest* response) override;
  grpc::Status List(grpc::ServerContext* context, const v1::ListRequest* request,
                    v1::ListResponse* response) override;
  grpc::Status Cancel(grpc::ServerContext* context, const v1::GetRequest* request,
                      v1::DeletionRequest* response) override;
  grpc::Status Retry(grpc::ServerContext* context, const v1::RetryRequest* request,
                     v1::DeletionRequest* response) override;
  grpc::ServerWriteReactor<v1::DeletionRequest>* Watch(grpc::CallbackServerContext* context,
                                                       const v1::GetRequest* request) override;

  // Ends every Watch with UNAVAILABLE, now and from now on: the server drains.
  void EndWatches();

 private:
  friend class RequestWatch;
  grpc::Status Answer(const std::string& id, v1::DeletionRequest* response) const;

  RequestQueue* const queue_;
  RequestRunner* const runner_;
  const Authenticator* const authenticator_;
  const absl::Duration erasure_wait_;
  absl::Mutex mutex_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<RequestWatch*> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace unlearn

#endif  // TRAINER_SERVER_DELETION_SERVICE_H_
