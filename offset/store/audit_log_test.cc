#include "offset/store/audit_log.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

class AuditLogTest : public ::testing::Test {
 protected:
  AuditLogTest() {
    std::string name = ::testing::TempDir() + "/audit.XXXXXX";
    folder_ = mkdtemp(&name[0]);
    path_ = JoinPath(folder_, "audit.log");
    log_ = std::make_unique<AuditLog>(path_, &key_);
  }
  ~AuditLogTest() override { EXPECT_TRUE(ShredFolder(folder_).ok()); }
  void AppendThree() {
    for (const char* event : {"one", "two", "three"}) {
      ASSERT_TRUE(log_->Append({{"event", event}}).ok());
    }
  }
  void Write(const std::string& text) { ASSERT_TRUE(WriteFileAtomically(path_, text).ok()); }
  // "" when Read() finds no fault.
  std::string Fault() const {
    const auto records = log_->Read();
    if (records.ok()) return "";
    EXPECT_EQ(records.status().code(), absl::StatusCode::kDataLoss);
    return std::string(records.status().message());
  }
  bool FaultAt(int line) const {
    return Fault().find(absl::StrCat(path_, " line ", line, " ")) != std::string::npos;
  }

  const SealingKey key_ = SealingKey::Generate();
  std::string folder_;
  std::string path_;
  std::unique_ptr<AuditLog> log_;
};

TEST_F(AuditLogTest, ReadsWhatWasAppended) {
  EXPECT_TRUE(log_->Read()->empty());
  const auto first = log_->Append({{"event", "a"}, {"who", "\"quotes\"\n\xff and a line"}});
  const auto second = AuditLog(path_, &key_).Append({{"event", "b"}, {"list", {"x", "y"}}});
  ASSERT_TRUE(first.ok() && second.ok());
  const auto records = log_->Read();
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), 2);
  EXPECT_EQ((*records)[0].mac, *first);
  EXPECT_EQ((*records)[1].mac, *second);
  EXPECT_EQ((*records)[1].fields["list"][1], "y");
  EXPECT_EQ((*records)[1].fields["sequence"], 1);
  EXPECT_EQ((*records)[1].fields["time"].get<std::string>().size(), 24);
  EXPECT_FALSE((*records)[1].fields.contains("mac"));
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600);
  // Each line is a JSON object for anyone's tools.
  const std::vector<std::string> lines = absl::StrSplit(*ReadFile(path_), '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    const auto parsed = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(parsed.is_object());
    EXPECT_TRUE(parsed.contains("mac"));
  }
}

TEST_F(AuditLogTest, EveryChangedByteIsFound) {
  AppendThree();
  const std::string good = *ReadFile(path_);
  for (size_t i = 0; i < good.size(); ++i) {
    for (const char mask : {1, 32}) {
      std::string changed = good;
      changed[i] ^= mask;
      Write(changed);
      ASSERT_NE(Fault(), "") << i;
    }
  }
  Write(good);
  EXPECT_EQ(Fault(), "");
}

TEST_F(AuditLogTest, RemovedSwappedAndRepeatedLinesAreFound) {
  AppendThree();
  const std::vector<std::string> lines = absl::StrSplit(*ReadFile(path_), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 3);
  Write(absl::StrCat(lines[1], "\n", lines[2], "\n"));
  EXPECT_TRUE(FaultAt(1));
  Write(absl::StrCat(lines[0], "\n", lines[2], "\n"));
  EXPECT_TRUE(FaultAt(2));
  Write(absl::StrCat(lines[0], "\n", lines[2], "\n", lines[1], "\n"));
  EXPECT_TRUE(FaultAt(2));
  Write(absl::StrCat(lines[0], "\n", lines[0], "\n"));
  EXPECT_TRUE(FaultAt(2));
  Write(absl::StrCat("\n", lines[0], "\n"));
  EXPECT_TRUE(FaultAt(1));
  const SealingKey other = SealingKey::Generate();
  EXPECT_FALSE(AuditLog(path_, &other).Read().ok());
}

TEST_F(AuditLogTest, UnfinishedLineIsReportedThenRepaired) {
  AppendThree();
  const std::string good = *ReadFile(path_);
  for (const size_t cut : {size_t{1}, size_t{40}}) {
    Write(good.substr(0, good.size() - cut));
    EXPECT_TRUE(FaultAt(3));
  }
  ASSERT_TRUE(log_->Append({{"event", "four"}}).ok());
  const auto records = log_->Read();
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), 4);
  EXPECT_EQ((*records)[1].fields["event"], "two");
  EXPECT_EQ((*records)[2].fields["event"], "repair");
  EXPECT_EQ((*records)[3].fields["event"], "four");
  EXPECT_EQ((*records)[3].fields["sequence"], 3);
}

TEST_F(AuditLogTest, OnlyAnUnfinishedLineIsRepaired) {
  Write("{\"event\":\"on");
  ASSERT_TRUE(log_->Append({{"event", "two"}}).ok());
  const auto records = log_->Read();
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_EQ(records->size(), 2);
  EXPECT_EQ((*records)[0].fields["bytes_removed"], 12);
}

TEST_F(AuditLogTest, GoesOnAfterDamageWhichStaysVisible) {
  AppendThree();
  std::string text = *ReadFile(path_);
  text[2] ^= 1;
  Write(text);
  EXPECT_TRUE(log_->Append({{"event", "four"}}).ok());
  EXPECT_TRUE(FaultAt(1));
  Write("not a line of ours\n");
  EXPECT_TRUE(log_->Append({{"event", "four"}}).ok());
  EXPECT_TRUE(FaultAt(1));
}

}  // namespace
}  // namespace unlearn
