#include "proxy/transport/authenticator.h"

#include <memory>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "proxy/transport/client_channel.h"
#include "proxy/transport/grpc_status.h"
#include "proxy/transport/server_runner.h"
#include "unlearn/v1/generation.grpc.pb.h"

namespace unlearn {
namespace {

using ::testing::HasSubstr;

// Tokenize is for users, Detokenize for admins.
class GuardedService : public v1::GenerationService::Service {
 public:
  explicit GuardedService(const Authenticator& authenticator) : authenticator_(authenticator) {}

  grpc::Status Tokenize(grpc::ServerContext* context, const v1::TokenizeRequest*,
                        v1::TokenizeResponse* response) override {
    const absl::StatusOr<Caller> caller = authenticator_.Authenticate(*context);
    if (!caller.ok()) return ToGrpcStatus(caller.status());
    response->add_token_ids(caller->role == Role::kAdmin ? 2 : 1);
    tenants_.push_back(caller->tenant);
    return grpc::Status::OK;
  }
  grpc::Status Detokenize(grpc::ServerContext* context, const v1::DetokenizeRequest*,
                          v1::DetokenizeResponse*) override {
    return ToGrpcStatus(authenticator_.Require(Role::kAdmin, *context, "the field alpha"));
  }

 private:
  const Authenticator& authenticator_;

 public:
  std::vector<std::string> tenants_;  // of each call, one after the other
};

class AuthenticatorTest : public testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& contents) {
    const std::string path = JoinPath(testing::TempDir(), name);
    EXPECT_TRUE(WriteFileAtomically(path, contents).ok());
    return path;
  }

  void StartServer(const std::string& token_file) {
    auto authenticator = Authenticator::Load(token_file);
    ASSERT_TRUE(authenticator.ok()) << authenticator.status();
    authenticator_ = *std::move(authenticator);
    service_ = std::make_unique<GuardedService>(*authenticator_);
    ServerOptions options;
    options.handle_signals = false;
    auto runner = ServerRunner::Start(
        options, {{service_.get(), v1::GenerationService::service_full_name()}});
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
  }

  std::unique_ptr<v1::GenerationService::Stub> Stub(const std::string& token_file) {
    ClientOptions options;
    options.address = runner_->addresses()[0];
    options.token_file = token_file;
    auto channel = ClientChannel::Create(options);
    EXPECT_TRUE(channel.ok()) << channel.status();
    return v1::GenerationService::NewStub(channel->channel());
  }

  // The role as Tokenize shows it, or the error; `headers` are sent as they are.
  static absl::StatusOr<int> RoleOf(v1::GenerationService::Stub& stub,
                                    const std::vector<std::string>& headers = {}) {
    grpc::ClientContext context;
    for (const std::string& header : headers) context.AddMetadata("authorization", header);
    v1::TokenizeResponse response;
    const grpc::Status status = stub.Tokenize(&context, v1::TokenizeRequest(), &response);
    if (!status.ok()) return FromGrpcStatus(status);
    return response.token_ids(0);
  }

  static absl::Status AsAdmin(v1::GenerationService::Stub& stub) {
    grpc::ClientContext context;
    v1::DetokenizeResponse response;
    return FromGrpcStatus(stub.Detokenize(&context, v1::DetokenizeRequest(), &response));
  }

  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<GuardedService> service_;
  std::unique_ptr<ServerRunner> runner_;
};

TEST_F(AuthenticatorTest, TokensCarryRoles) {
  StartServer(Write("server", "user alice\nadmin bob\nuser carol\n"));
  EXPECT_EQ(RoleOf(*Stub(Write("client", "alice"))).value(), 1);
  EXPECT_EQ(RoleOf(*Stub(Write("client", "carol"))).value(), 1);
  EXPECT_EQ(RoleOf(*Stub(Write("client", "bob"))).value(), 2);
  // The role in the client's file is a label only.
  EXPECT_EQ(RoleOf(*Stub(Write("client", "admin alice"))).value(), 1);

  EXPECT_TRUE(AsAdmin(*Stub(Write("client", "bob"))).ok());
  const absl::Status user = AsAdmin(*Stub(Write("client", "alice")));
  EXPECT_EQ(user.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(user.message()), HasSubstr("the field alpha needs the role admin"));
  EXPECT_EQ(AsAdmin(*Stub("")).code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(AuthenticatorTest, EachTokenIsATenant) {
  StartServer(Write("server", "user alice\nadmin bob\nuser carol\n"));
  for (const char* client : {"alice", "bob", "alice", "carol"}) {
    ASSERT_TRUE(RoleOf(*Stub(Write("client", client))).ok());
  }
  const std::vector<std::string>& tenants = service_->tenants_;
  ASSERT_EQ(tenants.size(), 4);
  EXPECT_EQ(tenants[0], tenants[2]);
  EXPECT_EQ((std::set<std::string>(tenants.begin(), tenants.end()).size()), 3);
  for (const std::string& tenant : tenants) {
    EXPECT_FALSE(tenant.empty());
    EXPECT_THAT(tenant, testing::Not(HasSubstr("alice")));
  }
}

TEST_F(AuthenticatorTest, RefusesMissingUnknownAndMalformedTokens) {
  StartServer(Write("server", "user alice\nadmin bob\n"));
  const auto missing = RoleOf(*Stub(""));
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("--token_file"));
  const auto stub = Stub("");
  for (const char* header : {"Bearer alic", "Bearer alicee", "Bearer ", "Bearer", "alice",
                             "Basic alice", "Bearer  alice", "Bearer ALICE"}) {
    EXPECT_EQ(RoleOf(*stub, {header}).status().code(), absl::StatusCode::kUnauthenticated)
        << header;
  }
  EXPECT_EQ(RoleOf(*stub, {"Bearer alice", "Bearer bob"}).status().code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(RoleOf(*stub, {"bearer alice"}).value(), 1);
}

TEST_F(AuthenticatorTest, WithoutTokensNobodyIsAdmin) {
  StartServer("");
  EXPECT_EQ(RoleOf(*Stub("")).value(), 1);
  EXPECT_EQ(RoleOf(*Stub(Write("client", "anything"))).value(), 1);
  const absl::Status status = AsAdmin(*Stub(""));
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("start the server with --token_file"));
}

TEST_F(AuthenticatorTest, ABrokenTokenFileIsAnErrorAndNotAnOpenDoor) {
  EXPECT_EQ(Authenticator::Load("/nowhere/tokens").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Authenticator::Load(Write("server", "")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace unlearn
