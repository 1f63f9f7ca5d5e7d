#include "proxy/transport/client_channel.h"

#include <stdlib.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "proxy/transport/server_runner.h"
#include "unlearn/v1/generation.grpc.pb.h"

namespace unlearn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A fresh folder whose name is short enough for a socket's path; TempDir() may not be.
std::string ShortFolder() {
  char name[] = "/tmp/socketXXXXXX";
  EXPECT_NE(mkdtemp(name), nullptr);
  return name;
}

constexpr int kLargeBytes = 20 << 20;  // five times gRPC's own limit

class LargeService : public v1::GenerationService::Service {
 public:
  grpc::Status Detokenize(grpc::ServerContext*, const v1::DetokenizeRequest*,
                          v1::DetokenizeResponse* response) override {
    response->set_text(std::string(kLargeBytes, 'x'));
    return grpc::Status::OK;
  }
  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* response) override {
    response->add_token_ids(request->text().size());
    return grpc::Status::OK;
  }
};

std::unique_ptr<ServerRunner> Serve(LargeService& service, ServerOptions options) {
  options.handle_signals = false;
  auto runner =
      ServerRunner::Start(options, {{&service, v1::GenerationService::service_full_name()}});
  EXPECT_TRUE(runner.ok()) << runner.status();
  return *std::move(runner);
}

TEST(ClientChannelTest, TakesLargeMessagesWhileTheServerHasItsLimit) {
  LargeService service;
  ServerOptions server;
  server.max_receive_bytes = 1000;
  const auto runner = Serve(service, server);
  ClientOptions options;
  options.address = runner->addresses()[0];
  const auto channel = ClientChannel::Create(options);
  ASSERT_TRUE(channel.ok()) << channel.status();
  const auto stub = v1::GenerationService::NewStub(channel->channel());
  {
    grpc::ClientContext context;
    v1::DetokenizeResponse response;
    const grpc::Status status = stub->Detokenize(&context, v1::DetokenizeRequest(), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.text().size(), kLargeBytes);
  }
  for (const int bytes : {900, 1100}) {
    grpc::ClientContext context;
    v1::TokenizeRequest request;
    request.set_text(std::string(bytes, 'x'));
    v1::TokenizeResponse response;
    EXPECT_EQ(stub->Tokenize(&context, request, &response).error_code(),
              bytes < 1000 ? grpc::StatusCode::OK : grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
}

TEST(ClientChannelTest, SaysWhereItCouldNotConnect) {
  ClientOptions options;
  options.address = "unix:" + JoinPath(ShortFolder(), "nobody.sock");
  options.address_flag = "trainer";
  const auto channel = ClientChannel::Create(options);
  ASSERT_TRUE(channel.ok()) << channel.status();
  const absl::Time start = absl::Now();
  const absl::Status status = channel->WaitUntilConnected(absl::Milliseconds(200));
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(options.address), HasSubstr("--trainer"), HasSubstr("200ms")));
}

TEST(ClientChannelTest, WaitsForAServerThatIsStillStarting) {
  ClientOptions options;
  options.address = "unix:" + JoinPath(ShortFolder(), "late.sock");
  const auto channel = ClientChannel::Create(options);
  ASSERT_TRUE(channel.ok()) << channel.status();
  LargeService service;
  std::unique_ptr<ServerRunner> runner;
  std::thread late([&] {
    absl::SleepFor(absl::Milliseconds(400));
    ServerOptions server;
    server.listen = {options.address};
    runner = Serve(service, server);
  });
  EXPECT_EQ(channel->WaitUntilConnected(absl::Seconds(20)), absl::OkStatus());
  late.join();
}

TEST(ClientChannelTest, RefusesWhatIsNoAddress) {
  for (const char* address : {"", "host", ":80", "host:", "http://host:80"}) {
    ClientOptions options;
    options.address = address;
    const auto channel = ClientChannel::Create(options);
    EXPECT_EQ(channel.status().code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(channel.status().message()), HasSubstr("--server"));
  }
  ClientOptions options;
  options.address = "unix:/tmp/" + std::string(103, 'x');  // one byte too many
  EXPECT_EQ(ClientChannel::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
  options.address.pop_back();
  EXPECT_TRUE(ClientChannel::Create(options).ok());
}

}  // namespace
}  // namespace unlearn
