// Streams that are idle for long: a server that was not told anything about us must not take our
// signs of life for abuse.

#include <chrono>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "proxy/transport/client_channel.h"
#include "unlearn/v1/generation.grpc.pb.h"

namespace unlearn {
namespace {

// gRPC pings no more often than that.
constexpr absl::Duration kPeriod = absl::Seconds(1);
constexpr std::chrono::milliseconds kSeveralPeriods{5500};

// A stream that says one thing, and another when it is asked to.
class IdleService : public v1::GenerationService::Service {
 public:
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest*,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    writer->Write(v1::GenerateResponse());
    while (!go_on_.WaitForNotificationWithTimeout(absl::Milliseconds(20))) {
      if (context->IsCancelled()) return grpc::Status::CANCELLED;
    }
    writer->Write(v1::GenerateResponse());
    return grpc::Status::OK;
  }
  absl::Notification go_on_;
};

// `least`: the server's minimum between two pings, in milliseconds; 0: gRPC's own, five minutes.
std::unique_ptr<grpc::Server> Serve(IdleService& service, int least, int* port) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), port);
  builder.RegisterService(&service);
  if (least > 0) {
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, least);
  }
  return builder.BuildAndStart();
}

// Whether an open stream and its connection outlive several periods without a word.
bool OutlivesIdling(const std::shared_ptr<grpc::Channel>& channel, IdleService& service) {
  const auto stub = v1::GenerationService::NewStub(channel);
  grpc::ClientContext context;
  const auto stream = stub->Generate(&context, v1::GenerateRequest());
  v1::GenerateResponse response;
  if (!stream->Read(&response)) return false;
  const bool changed = channel->WaitForStateChange(
      GRPC_CHANNEL_READY, std::chrono::system_clock::now() + kSeveralPeriods);
  service.go_on_.Notify();
  const bool answered = stream->Read(&response);
  const grpc::Status status = stream->Finish();
  return !changed && answered && status.ok();
}

TEST(KeepaliveTest, ADefaultServerBearsIt) {
  for (const int least : {0, static_cast<int>(absl::ToInt64Milliseconds(kPeriod))}) {
    IdleService service;
    int port = 0;
    const auto server = Serve(service, least, &port);
    ClientOptions options;
    options.address = absl::StrCat("127.0.0.1:", port);
    options.keepalive = kPeriod;
    const auto channel = ClientChannel::Create(options);
    ASSERT_TRUE(channel.ok()) << channel.status();
    EXPECT_TRUE(OutlivesIdling(channel->channel(), service)) << least;
  }
}

// So the test above can fail.
TEST(KeepaliveTest, AClientWithoutMeasureIsCutOff) {
  IdleService service;
  int port = 0;
  const auto server = Serve(service, 0, &port);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(kPeriod)));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  const auto channel = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port),
                                                 grpc::InsecureChannelCredentials(), arguments);
  EXPECT_FALSE(OutlivesIdling(channel, service));
}

}  // namespace
}  // namespace unlearn
