#include "proxy/transport/tls_files.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "proxy/transport/client_channel.h"
#include "proxy/transport/grpc_status.h"
#include "proxy/transport/server_runner.h"
#include "proxy/transport/test_certificates.h"
#include "unlearn/v1/generation.grpc.pb.h"

namespace unlearn {
namespace {

using ::testing::HasSubstr;

class AnsweringService : public v1::GenerationService::Service {
 public:
  grpc::Status GetInfo(grpc::ServerContext*, const v1::GetInfoRequest*,
                       v1::GetInfoResponse* response) override {
    response->set_vocab_size(7);
    return grpc::Status::OK;
  }
};

class TlsFilesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = new TestCertificates(MakeTestCertificates(testing::TempDir()));
  }

  std::unique_ptr<ServerRunner> Serve(const std::string& ca) {
    ServerOptions options;
    options.handle_signals = false;
    options.tls_cert = files_->server_cert;
    options.tls_key = files_->server_key;
    options.tls_ca = ca;
    auto runner =
        ServerRunner::Start(options, {{&service_, v1::GenerationService::service_full_name()}});
    EXPECT_TRUE(runner.ok()) << runner.status();
    return *std::move(runner);
  }

  // Asks the server once; OK only when it answered.
  static absl::Status Ask(const ServerRunner& runner, const TlsFiles& tls) {
    ClientOptions options;
    options.address = runner.addresses()[0];
    options.tls = tls;
    auto channel = ClientChannel::Create(options);
    if (!channel.ok()) return channel.status();
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    v1::GetInfoResponse response;
    const grpc::Status status = v1::GenerationService::NewStub(channel->channel())
                                    ->GetInfo(&context, v1::GetInfoRequest(), &response);
    if (status.ok()) {
      EXPECT_EQ(response.vocab_size(), 7);
    }
    return FromGrpcStatus(status);
  }

  static TestCertificates* files_;
  AnsweringService service_;
};

TestCertificates* TlsFilesTest::files_ = nullptr;

TEST_F(TlsFilesTest, ServerCertificateIsVerified) {
  const auto runner = Serve("");
  EXPECT_EQ(Ask(*runner, {files_->ca, "", "", ""}), absl::OkStatus());
  EXPECT_EQ(Ask(*runner, {files_->other_ca, "", "", ""}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Ask(*runner, {}).code(), absl::StatusCode::kUnavailable) << "plain text";
}

TEST_F(TlsFilesTest, ClientsMustShowACertificateWhenACaIsGiven) {
  const auto runner = Serve(files_->ca);
  EXPECT_EQ(Ask(*runner, {files_->ca, files_->client_cert, files_->client_key, ""}),
            absl::OkStatus());
  EXPECT_FALSE(Ask(*runner, {files_->ca, "", "", ""}).ok());
  const auto strict = Serve(files_->other_ca);
  EXPECT_FALSE(Ask(*strict, {files_->ca, files_->client_cert, files_->client_key, ""}).ok());
}

TEST_F(TlsFilesTest, WaitUntilConnectedNoticesAWrongAuthority) {
  const auto runner = Serve("");
  ClientOptions options;
  options.address = runner->addresses()[0];
  options.tls.ca = files_->other_ca;
  const auto channel = ClientChannel::Create(options);
  ASSERT_TRUE(channel.ok());
  const absl::Status status = channel->WaitUntilConnected(absl::Milliseconds(300));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("with TLS"));
}

TEST_F(TlsFilesTest, ErrorsNameTheFlag) {
  const std::string text = JoinPath(testing::TempDir(), "text");
  ASSERT_TRUE(WriteFileAtomically(text, "hello").ok());
  const struct {
    TlsFiles tls;
    absl::StatusCode code;
    const char* says;
  } cases[] = {
      {{"", "/nowhere/c.pem", files_->server_key, ""},
       absl::StatusCode::kNotFound,
       "--tls_cert: cannot open /nowhere/c.pem"},
      {{"", files_->server_cert, "/nowhere/k.pem", "upstream_"},
       absl::StatusCode::kNotFound,
       "--upstream_tls_key: cannot open /nowhere/k.pem"},
      {{"/nowhere/ca.pem", files_->server_cert, files_->server_key, ""},
       absl::StatusCode::kNotFound,
       "--tls_ca: cannot open /nowhere/ca.pem"},
      {{"", text, files_->server_key, ""}, absl::StatusCode::kInvalidArgument, "--tls_cert"},
      {{"", files_->server_cert, text, ""}, absl::StatusCode::kInvalidArgument, "--tls_key"},
      {{text, files_->server_cert, files_->server_key, ""},
       absl::StatusCode::kInvalidArgument,
       "--tls_ca"},
      {{"", files_->server_cert, files_->client_key, ""},
       absl::StatusCode::kInvalidArgument,
       "is not the key of the first certificate"},
      {{"", files_->server_cert, "", ""},
       absl::StatusCode::kInvalidArgument,
       "together or not at all"},
  };
  for (const auto& each : cases) {
    const absl::Status server = MakeServerCredentials(each.tls).status();
    EXPECT_EQ(server.code(), each.code) << server;
    EXPECT_THAT(std::string(server.message()), HasSubstr(each.says));
    EXPECT_EQ(MakeChannelCredentials(each.tls).status(), server);
  }
  EXPECT_EQ(MakeServerCredentials({files_->ca, "", "", ""}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(IsLocalAddressTest, KnowsWhatStaysOnTheMachine) {
  for (const char* local : {"unix:/tmp/s", "localhost:1", "127.0.0.1:0", "127.1.2.3:9", "[::1]:5"})
    EXPECT_TRUE(IsLocalAddress(local)) << local;
  for (const char* remote : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example:1", "1270:1"})
    EXPECT_FALSE(IsLocalAddress(remote)) << remote;
}

}  // namespace
}  // namespace unlearn
