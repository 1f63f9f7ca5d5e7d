#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "offset/base/file.h"
#include "offset/store/seal.h"
#include "offset/store/version_store.h"
#include "proto/unlearn/v1/offset.grpc.pb.h"
#include "tools/cli/cli_test_util.h"

namespace unlearn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::Manifest Draft() {
  v1::Manifest draft;
  draft.set_model_id("big");
  draft.set_tokenizer_fingerprint("t");
  draft.set_pair_fingerprint("p");
  draft.set_vocab_size(300);
  draft.set_alpha(1);
  draft.set_combiner("delta");
  return draft;
}

// A real store with versions 0, 1 (r-1) and 2 (r-1, r-2); 2 is active.
class OffsetStoreCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    store_ = ::testing::TempDir() + "/store_" + name;
    key_ = store_ + ".key";
    ASSERT_TRUE(ShredFolder(store_).ok());
    ASSERT_TRUE(ShredFile(key_).ok());
    SealingKey key = SealingKey::Generate();
    ASSERT_TRUE(key.Save(key_).ok());
    auto store = VersionStore::Create(store_, std::move(key));
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE((*store)->InitVersionZero(Draft()).ok());
    const std::vector<NewAdapter> adapters = {{"r-1", 4, "first"}, {"r-2", 4, "second"}};
    ASSERT_TRUE((*store)->Publish(Draft(), absl::MakeConstSpan(adapters).subspan(0, 1)).ok());
    ASSERT_TRUE((*store)->Publish(Draft(), adapters).ok());
    ASSERT_TRUE((*store)->Activate(2, {}, "test").ok());
  }
  CliResult Run(std::vector<std::string> arguments) {
    for (const std::string& argument :
         {std::string("--store"), store_, std::string("--store_key_file"), key_}) {
      arguments.push_back(argument);
    }
    return RunInProcess(arguments);
  }
  std::string store_;
  std::string key_;
};

TEST_F(OffsetStoreCommand, ListShowsAllVersionsAndTheActiveOne) {
  const Json json = Run({"offset", "list", "--json"}).json();
  ASSERT_EQ(json["versions"].size(), 3);
  EXPECT_EQ(json["versions"][2]["version"], 2);
  EXPECT_EQ(json["versions"][2]["active"], true);
  EXPECT_EQ(json["versions"][1]["active"], false);
  EXPECT_EQ(json["versions"][2]["request_ids"], Json({"r-1", "r-2"}));
  EXPECT_THAT(Run({"offset", "list"}).out, HasSubstr("* 2 "));
}

TEST_F(OffsetStoreCommand, ShowPrintsTheActiveOrTheNamedManifest) {
  const Json active = Run({"offset", "show", "--json"}).json();
  EXPECT_EQ(active["version"], 2);
  EXPECT_EQ(active["model_id"], "big");
  EXPECT_EQ(active["adapters"].size(), 2);
  EXPECT_EQ(Run({"offset", "show", "0", "--json"}).json()["version"], 0);
  const CliResult missing = Run({"offset", "show", "9"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("no version 9"));
}

TEST_F(OffsetStoreCommand, VerifyFindsAChangedByte) {
  const CliResult good = Run({"offset", "verify", "--json"});
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_THAT(Keys(good.json()), ElementsAre("versions", "audit_problem"));
  EXPECT_EQ(good.json()["versions"].size(), 3);

  const std::string file = store_ + "/versions/000001/adapter-r-1.sealed";
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  ASSERT_TRUE(stream.good());
  char byte = 0;
  stream.seekg(5);
  stream.get(byte);
  stream.seekp(5);
  stream.put(static_cast<char>(byte ^ 1));
  stream.close();
  const CliResult bad = Run({"offset", "verify", "--json"});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_EQ(bad.json()["versions"][0]["problem"], "");
  EXPECT_NE(bad.json()["versions"][1]["problem"], "");
  EXPECT_THAT(bad.err, HasSubstr("DATA_LOSS"));
  EXPECT_EQ(Run({"offset", "verify", "0"}).exit_code, 0);
}

TEST_F(OffsetStoreCommand, RollbackUnforgetsOnlyWhenToldTo) {
  const CliResult refused = Run({"offset", "rollback"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("FAILED_PRECONDITION"));
  EXPECT_THAT(refused.err, HasSubstr("r-2"));
  EXPECT_THAT(refused.err, HasSubstr("--reintroduce"));
  EXPECT_EQ(Run({"offset", "show", "--json"}).json()["version"], 2);

  const CliResult done = Run({"offset", "rollback", "--reintroduce", "r-2", "--json"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.json(), Json({{"active_version", 1}, {"previous_version", 2}}));
  EXPECT_EQ(Run({"offset", "activate", "2", "--json"}).json()["previous_version"], 1);
}

TEST_F(OffsetStoreCommand, NothingBeforeVersionZero) {
  ASSERT_EQ(
      Run({"offset", "activate", "0", "--reintroduce", "r-1", "--reintroduce", "r-2"}).exit_code,
      0);
  const CliResult result = Run({"offset", "rollback"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("no usable version before 0"));
}

TEST_F(OffsetStoreCommand, WrongUsage) {
  const CliResult both = Run({"offset", "list", "--server", "localhost:1"});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_THAT(both.err, HasSubstr("exclude each other"));
  const CliResult no_key = RunInProcess({"offset", "list", "--store", store_});
  EXPECT_EQ(no_key.exit_code, 2);
  EXPECT_THAT(no_key.err, HasSubstr("--store_key_file"));
  const CliResult none = RunInProcess({"offset", "list"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("UNLEARN_SERVER"));
  EXPECT_EQ(RunInProcess({"offset", "verify"}).exit_code, 2);
}

TEST_F(OffsetStoreCommand, AStoreWinsOverAServerOfTheEnvironment) {
  setenv("UNLEARN_SERVER", "127.0.0.1:1", 1);
  EXPECT_EQ(Run({"offset", "list"}).exit_code, 0);
  unsetenv("UNLEARN_SERVER");
}

TEST_F(OffsetStoreCommand, AnotherKeyIsRefused) {
  const std::string other = store_ + ".other";
  ASSERT_TRUE(ShredFile(other).ok());
  ASSERT_TRUE(SealingKey::Generate().Save(other).ok());
  const CliResult result =
      RunInProcess({"offset", "list", "--store", store_, "--store_key_file", other});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
}

class FakeOffset : public v1::OffsetService::Service {
 public:
  grpc::Status ListVersions(grpc::ServerContext*, const v1::ListVersionsRequest*,
                            v1::ListVersionsResponse* response) override {
    for (uint64_t version = 0; version < 5; ++version) {
      v1::VersionSummary* summary = response->add_versions();
      *summary->mutable_manifest() = Draft();
      summary->mutable_manifest()->set_version(version);
      summary->set_active(version == 3);
      if (version == 2) summary->set_problem("adapter-x.sealed is damaged");
    }
    return grpc::Status::OK;
  }
  grpc::Status Activate(grpc::ServerContext*, const v1::ActivateRequest* request,
                        v1::ActivateResponse* response) override {
    activated = *request;
    response->set_previous_version(3);
    return failure;
  }
  v1::ActivateRequest activated;
  grpc::Status failure;
};

TEST(OffsetServerCommand, GoesThroughTheProxy) {
  FakeOffset service;
  FakeServer server(&service);
  const CliResult list = RunInProcess({"offset", "list", "--server", server.address(), "--json"});
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_EQ(list.json()["versions"].size(), 5);
  EXPECT_EQ(list.json()["versions"][2]["problem"], "adapter-x.sealed is damaged");
  const CliResult activate = RunInProcess({"offset", "activate", "4", "--reintroduce", "a",
                                           "--reintroduce", "b", "--server", server.address()});
  EXPECT_EQ(activate.exit_code, 0);
  EXPECT_EQ(activate.out, "version 4 is active (before: 3)\n");
  EXPECT_EQ(service.activated.version(), 4);
  EXPECT_THAT(service.activated.reintroduce(), ElementsAre("a", "b"));
}

TEST(OffsetServerCommand, RollbackSkipsADamagedVersion) {
  FakeOffset service;
  FakeServer server(&service);
  const CliResult result =
      RunInProcess({"offset", "rollback", "--server", server.address(), "--json"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(service.activated.version(), 1);
  EXPECT_EQ(result.json()["active_version"], 1);
}

TEST(OffsetServerCommand, ARefusalIsAFailure) {
  FakeOffset service;
  service.failure = grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "needs the role admin");
  FakeServer server(&service);
  const CliResult result =
      RunInProcess({"offset", "activate", "4", "--server", server.address(), "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("PERMISSION_DENIED"));
}

}  // namespace
}  // namespace unlearn
