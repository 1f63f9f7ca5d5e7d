// Which version may be activated, and what the audit log says about it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/store/store_test_util.h"

namespace unlearn {
namespace {

class ActiveVersionTest : public StoreTest {
 protected:
  // 0: {}, 1: {a}, 2: {a, b}, 3: {b}, 4: {a} at alpha 0.
  void SetUp() override {
    StoreTest::SetUp();
    Publish({"a"});
    Publish({"a", "b"});
    Publish({"b"});
    v1::Manifest off = Draft();
    off.set_alpha(0);
    ASSERT_TRUE(store_->Publish(off, Adapters({"a"})).ok());
  }
  absl::StatusCode Try(uint64_t version, const std::vector<std::string>& reintroduce = {}) {
    return store_->Activate(version, reintroduce, "test").code();
  }
  nlohmann::json LastRecord() { return store_->ReadAudit()->back().fields; }
  // Adds a byte to a file.
  void Damage(const std::string& name) {
    const std::string bytes = Contents(Path(name));
    ASSERT_TRUE(WriteFileAtomically(Path(name), bytes + "x").ok());
  }
};

constexpr auto kOk = absl::StatusCode::kOk;
constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;

TEST_F(ActiveVersionTest, StartsWithoutOne) {
  EXPECT_EQ(store_->ActiveVersion().status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store_->ActiveToken(), "");
  EXPECT_EQ(Try(0), kOk);
  EXPECT_EQ(*store_->ActiveVersion(), 0);
}

TEST_F(ActiveVersionTest, NothingIsLostWithoutBeingNamed) {
  // lost[from][to]: what going from one version to another un-forgets.
  const std::vector<std::vector<std::vector<std::string>>> lost = {
      {{}, {}, {}, {}, {}},
      {{"a"}, {}, {}, {"a"}, {"a"}},
      {{"a", "b"}, {"b"}, {}, {"a"}, {"a", "b"}},
      {{"b"}, {"b"}, {}, {}, {"b"}},
      {{}, {}, {}, {}, {}},
  };
  for (uint64_t from = 0; from < 5; ++from) {
    for (uint64_t to = 0; to < 5; ++to) {
      ASSERT_EQ(Try(from, {"a", "b"}), kOk);
      const std::vector<std::string>& requests = lost[from][to];
      const std::string log = Contents(Path("audit.log"));
      if (!requests.empty()) {
        const absl::Status status = store_->Activate(to, {"c"}, "test");
        EXPECT_EQ(status.code(), kRefused) << from << " to " << to;
        for (const std::string& request_id : requests) {
          EXPECT_TRUE(absl::StrContains(status.message(), "--reintroduce " + request_id)) << status;
        }
        if (requests.size() > 1) {
          EXPECT_EQ(Try(to, {requests[0]}), kRefused);
        }
        EXPECT_EQ(*store_->ActiveVersion(), from);
        EXPECT_EQ(Contents(Path("audit.log")), log);
      }
      EXPECT_EQ(Try(to, requests), kOk) << from << " to " << to;
      EXPECT_EQ(*store_->ActiveVersion(), to);
      EXPECT_EQ(LastRecord()["reintroduced"].get<std::vector<std::string>>(), requests);
      EXPECT_EQ(LastRecord()["before"], from);
    }
  }
  EXPECT_TRUE(store_->VerifyAudit().ok());
}

TEST_F(ActiveVersionTest, AuditSaysWhoAndWhat) {
  ASSERT_TRUE(store_->Activate(2, {}, "operator \"x\"\n").ok());
  ASSERT_TRUE(store_->Activate(1, {"b", "zzz"}, "someone").ok());
  const auto records = *store_->ReadAudit();
  ASSERT_EQ(records.size(), 7);  // five publications, two activations
  EXPECT_EQ(records[0].fields["event"], "publish");
  EXPECT_EQ(records[5].fields["who"], "operator \"x\"\n");
  const nlohmann::json& last = records[6].fields;
  EXPECT_EQ(last["event"], "activate");
  EXPECT_EQ(last["version"], 1);
  EXPECT_EQ(last["before"], 2);
  EXPECT_EQ(last["who"], "someone");
  EXPECT_EQ(last["reintroduced"], nlohmann::json({"b"}));  // zzz was not lost
  EXPECT_EQ(last["enforces"], nlohmann::json({"a"}));
  EXPECT_EQ(store_->Activate(1, {}, "").code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ActiveVersionTest, DamagedOrMissingVersionsAreNotActivated) {
  ASSERT_EQ(Try(1), kOk);
  const std::string token = store_->ActiveToken();
  const std::string log = Contents(Path("audit.log"));
  Damage("versions/000002/adapter-b.sealed");
  EXPECT_EQ(Try(2), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Try(9), absl::StatusCode::kNotFound);
  EXPECT_EQ(store_->ActiveToken(), token);
  EXPECT_EQ(Contents(Path("audit.log")), log);
}

TEST_F(ActiveVersionTest, TokenChangesWithEachActivation) {
  std::string before = store_->ActiveToken();
  for (const uint64_t version : {1, 1, 2, 2, 2}) {
    ASSERT_EQ(Try(version), kOk);
    EXPECT_NE(store_->ActiveToken(), before);
    before = store_->ActiveToken();
    EXPECT_EQ(OpenStore()->ActiveToken(), before);
  }
}

// Deleting or damaging ACTIVE must not be a way round the rule.
TEST_F(ActiveVersionTest, RuleHoldsWithoutActive) {
  ASSERT_EQ(Try(2), kOk);
  ASSERT_EQ(unlink(Path("ACTIVE").c_str()), 0);
  EXPECT_EQ(Try(0), kRefused);
  EXPECT_EQ(Try(1, {"a"}), kRefused);
  EXPECT_EQ(Try(2), kOk);
  Damage("ACTIVE");
  EXPECT_EQ(Try(1), kRefused);
  EXPECT_EQ(Try(1, {"b"}), kOk);
  EXPECT_EQ(*store_->ActiveVersion(), 1);
}

TEST_F(ActiveVersionTest, RuleHoldsWhenTheActiveManifestIsDamaged) {
  ASSERT_EQ(Try(1), kOk);
  Damage("versions/000001/manifest.textproto");
  EXPECT_EQ(Try(3), kRefused);
  EXPECT_EQ(Try(3, {"a"}), kOk);
}

TEST_F(ActiveVersionTest, RuleHoldsWithoutActiveAndAuditLog) {
  ASSERT_EQ(Try(1), kOk);
  ASSERT_EQ(unlink(Path("ACTIVE").c_str()), 0);
  ASSERT_EQ(unlink(Path("audit.log").c_str()), 0);
  // What is enforced is not known any more: all that was ever published counts.
  EXPECT_EQ(Try(0), kRefused);
  EXPECT_EQ(Try(1), kRefused);
  EXPECT_EQ(Try(2), kOk);
}

TEST_F(ActiveVersionTest, FailedReplacementIsNotedAndVoid) {
  ASSERT_EQ(Try(1), kOk);
  const std::string active = Contents(Path("ACTIVE"));
  // A folder in its place makes the replacement fail, after the audit record was written.
  ASSERT_EQ(unlink(Path("ACTIVE").c_str()), 0);
  ASSERT_EQ(mkdir(Path("ACTIVE").c_str(), 0700), 0);
  EXPECT_EQ(Try(2), absl::StatusCode::kInternal);
  EXPECT_EQ(LastRecord()["event"], "activation_failed");
  ASSERT_EQ(rmdir(Path("ACTIVE").c_str()), 0);
  ASSERT_TRUE(WriteFileAtomically(Path("ACTIVE"), active).ok());
  EXPECT_EQ(*store_->ActiveVersion(), 1);
  EXPECT_TRUE(store_->VerifyAudit().ok()) << store_->VerifyAudit();
  ASSERT_EQ(unlink(Path("ACTIVE").c_str()), 0);
  EXPECT_EQ(Try(0), kRefused);    // a is enforced, by version 1
  EXPECT_EQ(Try(0, {"a"}), kOk);  // b never was
}

}  // namespace
}  // namespace unlearn
