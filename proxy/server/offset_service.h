#ifndef PROXY_SERVER_OFFSET_SERVICE_H_
#define PROXY_SERVER_OFFSET_SERVICE_H_

#include "grpcpp/grpcpp.h"
#include "offset/store/version_store.h"
#include "proto/unlearn/v1/offset.grpc.pb.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/server/version_manager.h"
#include "proxy/transport/authenticator.h"

namespace unlearn {

// OffsetService: what this proxy serves, and the operator's activation and rollback. Thread-safe.
class OffsetService final : public v1::OffsetService::Service {
 public:
  OffsetService(VersionStore* store, VersionManager* versions, Scheduler* scheduler,
                const Authenticator* authenticator)
      : store_(store), versions_(versions), scheduler_(scheduler), authenticator_(authenticator) {}

  grpc::Status ListVersions(grpc::ServerContext* context, const v1::ListVersionsRequest* request,
                            v1::ListVersionsResponse* response) override;
  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetOffsetStatusRequest* request,
                         v1::OffsetStatus* response) override;
  grpc::Status Activate(grpc::ServerContext* context, const v1::ActivateRequest* request,
                        v1::ActivateResponse* response) override;

 private:
  VersionStore* const store_;
  VersionManager* const versions_;
  Scheduler* const scheduler_;
  const Authenticator* const authenticator_;
};

}  // namespace unlearn

#endif  // PROXY_SERVER_OFFSET_SERVICE_H_
