#include "proxy/upstream/callback_threads.h"

#include <memory>

#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "unlearn/v1/upstream.grpc.pb.h"

namespace unlearn {
namespace {

// A channel that never connects and has made one call with a callback, which counts as using the
// threads for as long as the channel lives.
struct Keeper {
  Keeper() {
    context.TryCancel();
    stub->async()->GetModelInfo(&context, &request, &response, [](grpc::Status) {});
  }

  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateChannel("unix:/nowhere", grpc::InsecureChannelCredentials());
  std::unique_ptr<v1::UpstreamService::Stub> stub = v1::UpstreamService::NewStub(channel);
  grpc::ClientContext context;
  v1::GetModelInfoRequest request;
  v1::ModelInfo response;
};

}  // namespace

void KeepCallbackThreads() {
  // Never destroyed. Volatile, so that the pointer is kept, too, and leak checkers see it.
  static Keeper* volatile const keeper = new Keeper;
  (void)keeper;
}

}  // namespace unlearn
