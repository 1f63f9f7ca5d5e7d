#ifndef PROXY_TRANSPORT_RUNNING_CALLS_H_
#define PROXY_TRANSPORT_RUNNING_CALLS_H_

#include <atomic>
#include <memory>

#include "grpcpp/support/server_interceptor.h"

namespace unlearn {

// Counts the calls that are being answered, except those to gRPC's own services (health,
// reflection): a load balancer watches health for as long as it can, and no drain waits for that.
// Thread-safe; outlives the server.
class RunningCalls {
 public:
  int count() const { return count_.load(); }

  // For ServerBuilder::experimental().SetInterceptorCreators.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> NewFactory();

 private:
  std::atomic<int> count_ = 0;
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_RUNNING_CALLS_H_
