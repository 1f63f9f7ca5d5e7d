#include "trainer/queue/sqlite_database.h"

#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

class SqliteDatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "/sqlite_", getpid());
    ASSERT_TRUE(MakeFolders(folder_).ok());
    path_ = JoinPath(folder_, "x.db");
  }
  void TearDown() override { ASSERT_TRUE(ShredFolder(folder_).ok()); }
  std::string folder_;
  std::string path_;
};

TEST_F(SqliteDatabaseTest, ValuesComeBackAndFilesArePrivate) {
  auto database = SqliteDatabase::Open(path_);
  ASSERT_TRUE(database.ok()) << database.status();
  ASSERT_TRUE(
      (*database)->Execute("CREATE TABLE t (a TEXT, b BLOB, c INTEGER, d REAL, e TEXT)").ok());
  const std::string bytes("a\0b\xff", 4);
  {
    auto insert = (*database)->Prepare("INSERT INTO t VALUES (?, ?, ?, ?, ?)");
    ASSERT_TRUE(insert.ok());
    insert->BindText(0, "text").BindBlob(1, bytes).BindInt(2, -5).BindDouble(3, 0.25).BindNull(4);
    ASSERT_TRUE(insert->Run().ok());
    EXPECT_EQ((*database)->Changes(), 1);
  }
  auto select = (*database)->Prepare("SELECT a, b, c, d, e FROM t");
  ASSERT_TRUE(select.ok());
  ASSERT_TRUE(*select->Step());
  EXPECT_EQ(select->Text(0), "text");
  EXPECT_EQ(select->Text(1), bytes);
  EXPECT_EQ(select->Int(2), -5);
  EXPECT_EQ(select->Double(3), 0.25);
  EXPECT_EQ(select->Text(4), "");
  EXPECT_FALSE(*select->Step());
  for (const char* suffix : {"", "-wal", "-shm"}) {
    struct stat info;
    ASSERT_EQ(stat((path_ + suffix).c_str(), &info), 0) << suffix;
    EXPECT_EQ(info.st_mode & 0777, 0600) << suffix;
  }
}

TEST_F(SqliteDatabaseTest, DamageIsDataLossAndNamesTheFile) {
  ASSERT_TRUE(WriteFileAtomically(path_, std::string(8192, 'x')).ok());
  const auto database = SqliteDatabase::Open(path_);
  EXPECT_EQ(database.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(database.status().message(), path_));
}

TEST_F(SqliteDatabaseTest, TooManyPagesAreAFullDisk) {
  auto database = SqliteDatabase::Open(path_);
  ASSERT_TRUE(database.ok());
  ASSERT_TRUE((*database)->Execute("CREATE TABLE t (b BLOB); PRAGMA max_page_count = 20").ok());
  EXPECT_EQ((*database)->Execute("INSERT INTO t VALUES (zeroblob(1000000))").code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(SqliteDatabaseTest, ErrorsDoNotRepeatValues) {
  auto database = SqliteDatabase::Open(path_);
  ASSERT_TRUE(database.ok());
  ASSERT_TRUE((*database)->Execute("CREATE TABLE t (a TEXT UNIQUE)").ok());
  ASSERT_TRUE((*database)->Execute("INSERT INTO t VALUES ('secret')").ok());
  const absl::Status again = (*database)->Execute("INSERT INTO t VALUES ('secret')");
  EXPECT_EQ(again.code(), absl::StatusCode::kInternal);
  EXPECT_FALSE(absl::StrContains(again.message(), "secret"));
}

}  // namespace
}  // namespace unlearn
