// Each changed byte of each file is found, whichever it is, and the message names the file.
#include <gtest/gtest.h>
#include <stdio.h>
#include <unistd.h>

#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/store/store_test_util.h"

namespace unlearn {
namespace {

class TamperTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    Publish({"a"});
    Publish({"a", "b"});
    ASSERT_TRUE(store_->Activate(2, {}, "test").ok());
    ASSERT_TRUE(store_->VerifyAudit().ok());
  }
  static void Write(const std::string& path, const std::string& bytes) {
    FILE* file = fopen(path.c_str(), "wb");  // in place and quick: the loops write thousands
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
    ASSERT_EQ(fclose(file), 0);
  }
  // Every single byte changed in two ways, every truncation, and a byte too many.
  void ForEachDamage(const std::string& path, const std::function<absl::Status()>& check,
                     absl::StatusCode code = absl::StatusCode::kDataLoss) {
    const std::string good = Contents(path);
    const std::string folder = path.substr(0, path.rfind('/'));
    const auto expect_found = [&](const std::string& damaged, size_t at) {
      Write(path, damaged);
      const absl::Status status = check();
      ASSERT_EQ(status.code(), code) << path << " byte " << at << ": " << status;
      ASSERT_TRUE(absl::StrContains(status.message(), folder)) << status;
      ASSERT_TRUE(absl::StrContains(status.message(), ";")) << status;  // what to do
    };
    for (size_t i = 0; i < good.size(); ++i) {
      for (const char mask : {1, 32}) {  // 32 turns upper into lower case
        std::string damaged = good;
        damaged[i] ^= mask;
        ASSERT_NO_FATAL_FAILURE(expect_found(damaged, i));
      }
      ASSERT_NO_FATAL_FAILURE(expect_found(good.substr(0, i), i));
    }
    ASSERT_NO_FATAL_FAILURE(expect_found(good + "\n", good.size()));
    Write(path, good);
    ASSERT_TRUE(check().ok()) << check();
  }
};

TEST_F(TamperTest, EachFileOfAVersion) {
  for (const char* name :
       {"manifest.textproto", "manifest.mac", "adapter-a.sealed", "adapter-b.sealed"}) {
    ForEachDamage(Path(absl::StrCat("versions/000002/", name)), [&] { return store_->Verify(2); });
  }
}

TEST_F(TamperTest, ReadingFindsItToo) {
  const std::string folder = Path("versions/000002");
  ForEachDamage(folder + "/manifest.textproto", [&] { return store_->ReadManifest(2).status(); });
  const v1::Manifest manifest = *store_->ReadManifest(2);
  ForEachDamage(folder + "/adapter-b.sealed",
                [&] { return store_->ReadAdapter(manifest, 1).status(); });
}

TEST_F(TamperTest, Active) {
  ForEachDamage(Path("ACTIVE"), [&] { return store_->ActiveVersion().status(); });
  ForEachDamage(Path("ACTIVE"), [&] { return store_->VerifyAudit(); });
}

TEST_F(TamperTest, AuditLog) {
  ForEachDamage(Path("audit.log"), [&] { return store_->VerifyAudit(); });
}

TEST_F(TamperTest, StoreFile) {
  ForEachDamage(Path("STORE"), [&] { return VersionStore::Open(folder(), Key()).status(); });
}

TEST_F(TamperTest, MissingAndForeignFiles) {
  const std::string folder = Path("versions/000002/");
  for (const std::string name :
       {"manifest.textproto", "manifest.mac", "adapter-a.sealed", "adapter-b.sealed"}) {
    const std::string good = Contents(folder + name);
    ASSERT_EQ(unlink((folder + name).c_str()), 0);
    const absl::Status status = store_->ReadManifest(2).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << name;
    EXPECT_TRUE(absl::StrContains(status.message(), folder + name)) << status;
    Write(folder + name, good);
  }
  ASSERT_TRUE(store_->Verify(2).ok());
  Write(folder + "adapter-c.sealed", "x");
  EXPECT_EQ(store_->Verify(2).code(), absl::StatusCode::kDataLoss);
}

TEST_F(TamperTest, AuthenticFilesInTheWrongPlace) {
  const std::string one = Path("versions/000001/");
  const std::string two = Path("versions/000002/");
  // One version's folder under another's number.
  ASSERT_EQ(rename((Path("versions/000002")).c_str(), Path("versions/000003").c_str()), 0);
  EXPECT_EQ(store_->Verify(3).code(), absl::StatusCode::kDataLoss);
  ASSERT_EQ(rename((Path("versions/000003")).c_str(), Path("versions/000002").c_str()), 0);
  // The same request's adapter of another version: sealed anew, so other bytes.
  const std::string good = Contents(two + "adapter-a.sealed");
  Write(two + "adapter-a.sealed", Contents(one + "adapter-a.sealed"));
  EXPECT_EQ(store_->Verify(2).code(), absl::StatusCode::kDataLoss);
  Write(two + "adapter-a.sealed", good);
  // Another version's manifest with its MAC.
  const std::string manifest = Contents(two + "manifest.textproto");
  const std::string mac = Contents(two + "manifest.mac");
  Write(two + "manifest.textproto", Contents(one + "manifest.textproto"));
  Write(two + "manifest.mac", Contents(one + "manifest.mac"));
  EXPECT_EQ(store_->Verify(2).code(), absl::StatusCode::kDataLoss);
  Write(two + "manifest.textproto", manifest);
  Write(two + "manifest.mac", mac);
  EXPECT_TRUE(store_->Verify(2).ok());
}

TEST_F(TamperTest, AManifestCannotLeadOutOfItsFolder) {
  v1::Manifest manifest = *store_->ReadManifest(2);
  manifest.mutable_adapters(0)->set_request_id("../000001/x");
  EXPECT_EQ(store_->ReadAdapter(manifest, 0).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TamperTest, LinesCutFromTheEndOfTheAuditLog) {
  Publish({"a", "b", "c"});
  const std::string log = Contents(Path("audit.log"));
  for (size_t end = log.size() - 1; end != std::string::npos && end > 0;) {
    end = log.rfind('\n', end - 1);
    Write(Path("audit.log"), end == std::string::npos ? "" : log.substr(0, end + 1));
    EXPECT_EQ(store_->VerifyAudit().code(), absl::StatusCode::kDataLoss);
  }
  ASSERT_EQ(unlink(Path("audit.log").c_str()), 0);
  EXPECT_EQ(store_->VerifyAudit().code(), absl::StatusCode::kDataLoss);
  Write(Path("audit.log"), log);
  EXPECT_TRUE(store_->VerifyAudit().ok());
}

TEST_F(TamperTest, OlderActiveIsFound) {
  const std::string older = Contents(Path("ACTIVE"));
  Publish({"a", "b", "c"});
  ASSERT_TRUE(store_->Activate(3, {}, "test").ok());
  ASSERT_TRUE(store_->VerifyAudit().ok());
  Write(Path("ACTIVE"), older);
  EXPECT_EQ(store_->VerifyAudit().code(), absl::StatusCode::kDataLoss);
  ASSERT_EQ(unlink(Path("ACTIVE").c_str()), 0);
  EXPECT_EQ(store_->VerifyAudit().code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(store_->Activate(3, {}, "test").ok());
  EXPECT_TRUE(store_->VerifyAudit().ok());
}

}  // namespace
}  // namespace unlearn
