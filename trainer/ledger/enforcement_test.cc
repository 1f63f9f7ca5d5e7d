#include "trainer/ledger/enforcement.h"

#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "proto/unlearn/v1/offset.grpc.pb.h"

namespace unlearn {
namespace {

// A proxy that says what the test tells it to say.
class FakeProxy : public v1::OffsetService::Service {
 public:
  FakeProxy() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }
  ~FakeProxy() override { server_->Shutdown(); }
  RegisteredProxy Registered() const {
    return {address_, grpc::CreateChannel(address_, grpc::InsecureChannelCredentials())};
  }
  void Say(uint64_t active, const std::vector<std::pair<uint64_t, int>>& streams = {}) {
    absl::MutexLock lock(&mutex_);
    status_.Clear();
    status_.set_serving(true);
    status_.set_active_version(active);
    for (const auto& stream : streams) {
      v1::VersionStreams* added = status_.add_streams();
      added->set_version(stream.first);
      added->set_streams(stream.second);
    }
  }
  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetOffsetStatusRequest*,
                         v1::OffsetStatus* status) override {
    absl::MutexLock lock(&mutex_);
    *status = status_;
    return grpc::Status::OK;
  }
  void Stop() { server_->Shutdown(); }
  const std::string& address() const { return address_; }

 private:
  absl::Mutex mutex_;
  v1::OffsetStatus status_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

// Versions 0: nothing, 1: a, 2: a and b.
class EnforcementTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "/enforcement_", getpid());
    auto store = VersionStore::Create(folder_, SealingKey::Generate());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    v1::Manifest draft;
    draft.set_alpha(1);
    draft.set_combiner("delta");
    draft.set_vocab_size(10);
    ASSERT_TRUE(store_->InitVersionZero(draft).ok());
    auto one = store_->Publish(draft, {NewAdapter{"req-a", 4, "adapter a"}});
    ASSERT_TRUE(one.ok()) << one.status();
    auto two = store_->Publish(
        draft, {NewAdapter{"req-a", 4, "adapter a"}, NewAdapter{"req-b", 4, "adapter b"}});
    ASSERT_TRUE(two.ok()) << two.status();
  }
  void TearDown() override {
    store_.reset();
    ASSERT_TRUE(ShredFolder(folder_).ok());
  }
  EnforcementAnswer Check(const std::string& id) {
    return ProxyEnforcement(store_.get(), {first_.Registered(), second_.Registered()},
                            absl::Seconds(20))
        .Check(id);
  }

  std::string folder_;
  std::unique_ptr<VersionStore> store_;
  FakeProxy first_, second_;
};

TEST_F(EnforcementTest, EveryProxyMustServeAVersionThatHasTheRequest) {
  first_.Say(1);
  second_.Say(0);
  EnforcementAnswer answer = Check("req-a");
  EXPECT_FALSE(answer.enforced);
  EXPECT_TRUE(absl::StrContains(answer.message, second_.address())) << answer.message;
  EXPECT_FALSE(absl::StrContains(answer.message, first_.address())) << answer.message;
  second_.Say(1);
  answer = Check("req-a");
  EXPECT_TRUE(answer.enforced) << answer.message;
  EXPECT_EQ(answer.message, "");
  EXPECT_FALSE(Check("req-b").enforced);
}

TEST_F(EnforcementTest, ALaterVersionThatListsTheRequestCounts) {
  first_.Say(2);
  second_.Say(1);
  EXPECT_TRUE(Check("req-a").enforced);
  EXPECT_FALSE(Check("req-b").enforced);
}

TEST_F(EnforcementTest, StreamsOfVersionsWithoutTheRequestCountAgainstIt) {
  first_.Say(2, {{1, 3}, {2, 5}});
  second_.Say(2, {{0, 0}});
  EXPECT_TRUE(Check("req-a").enforced);
  const EnforcementAnswer answer = Check("req-b");
  EXPECT_FALSE(answer.enforced);
  EXPECT_TRUE(absl::StrContains(answer.message, "3 streams of version 1")) << answer.message;
  first_.Say(2, {{0, 1}, {2, 5}});
  EXPECT_FALSE(Check("req-a").enforced);
}

TEST_F(EnforcementTest, AnUnknownVersionOrADeadProxyProvesNothing) {
  first_.Say(2);
  second_.Say(7);
  EXPECT_FALSE(Check("req-a").enforced);
  second_.Say(2);
  EXPECT_TRUE(Check("req-a").enforced);
  second_.Stop();
  const EnforcementAnswer answer = Check("req-a");
  EXPECT_FALSE(answer.enforced);
  EXPECT_TRUE(absl::StrContains(answer.message, "does not answer")) << answer.message;
}

TEST_F(EnforcementTest, WithoutProxiesNothingIsProven) {
  const EnforcementAnswer answer =
      ProxyEnforcement(store_.get(), {}, absl::Seconds(1)).Check("req-a");
  EXPECT_FALSE(answer.enforced);
  EXPECT_TRUE(absl::StrContains(answer.message, "--proxy")) << answer.message;
}

}  // namespace
}  // namespace unlearn
