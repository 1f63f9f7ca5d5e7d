#include "offset/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = absl::StrCat(testing::TempDir(), "/file_", getpid(), "_", name);
    ASSERT_TRUE(MakeFolders(folder_).ok());
  }
  void TearDown() override { EXPECT_TRUE(ShredFolder(folder_).ok()); }

  std::string Path(const std::string& name) const { return JoinPath(folder_, name); }

  static mode_t Mode(const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(stat(path.c_str(), &info), 0);
    return info.st_mode & 0777;
  }

  std::string folder_;
};

TEST_F(FileTest, ReadsBackWhatWasWritten) {
  const std::string bytes = std::string(200000, 'x') + std::string("\0\n\xff", 3);
  ASSERT_TRUE(WriteFileAtomically(Path("a"), bytes).ok());
  EXPECT_EQ(ReadFile(Path("a")).value(), bytes);
  EXPECT_EQ(Mode(Path("a")), 0600);
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "", 0640).ok());
  EXPECT_EQ(ReadFile(Path("a")).value(), "");
  EXPECT_EQ(Mode(Path("a")), 0640);
  EXPECT_EQ(ListFolder(folder_).value(), std::vector<std::string>{"a"});
}

TEST_F(FileTest, AFileThatCannotBeReplacedLeavesNothingBehind) {
  ASSERT_TRUE(MakeFolders(Path("taken/inside")).ok());
  const absl::Status status = WriteFileAtomically(Path("taken"), "x");
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(absl::StrContains(status.message(), Path("taken"))) << status;
  EXPECT_EQ(ListFolder(folder_).value(), std::vector<std::string>{"taken"});
  EXPECT_EQ(WriteFileAtomically(Path("none/a"), "x").code(), absl::StatusCode::kNotFound);
}

TEST_F(FileTest, ErrorsNameThePath) {
  for (const absl::Status& status : {ReadFile(Path("none")).status(),
                                     ListFolder(Path("none")).status(), SyncFolder(Path("none"))}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_TRUE(absl::StrContains(status.message(), Path("none"))) << status;
  }
  EXPECT_FALSE(ReadFile(folder_).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "x").ok());
  EXPECT_FALSE(MakeFolders(Path("a/b")).ok());
}

// What was opened before sees the overwritten bytes: they were not only unlinked.
TEST_F(FileTest, ShreddingOverwrites) {
  const std::string secret(150000, 's');
  ASSERT_TRUE(WriteFileAtomically(Path("a"), secret).ok());
  const int fd = open(Path("a").c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  ASSERT_TRUE(ShredFile(Path("a")).ok());
  EXPECT_FALSE(FileExists(Path("a")));
  std::string left(secret.size(), 'x');
  EXPECT_EQ(pread(fd, &left[0], left.size(), 0), left.size());
  EXPECT_EQ(left, std::string(secret.size(), '\0'));
  close(fd);
  EXPECT_TRUE(ShredFile(Path("a")).ok()) << "none is fine";
}

TEST_F(FileTest, ShreddingAFolderTakesItAllAndFollowsNoLink) {
  ASSERT_TRUE(WriteFileAtomically(Path("outside"), "kept").ok());
  ASSERT_TRUE(MakeFolders(Path("tree/deep/deeper")).ok());
  EXPECT_EQ(Mode(Path("tree/deep")), 0700);
  ASSERT_TRUE(WriteFileAtomically(Path("tree/a"), "x").ok());
  ASSERT_TRUE(WriteFileAtomically(Path("tree/deep/deeper/b"), "x").ok());
  ASSERT_EQ(symlink(Path("outside").c_str(), Path("tree/link").c_str()), 0);
  ASSERT_EQ(symlink(folder_.c_str(), Path("tree/folder_link").c_str()), 0);
  ASSERT_EQ(symlink("/nowhere", Path("tree/deep/dangling").c_str()), 0);
  EXPECT_FALSE(ShredFile(Path("tree/link")).ok());
  ASSERT_TRUE(ShredFolder(Path("tree")).ok());
  EXPECT_FALSE(FileExists(Path("tree")));
  EXPECT_EQ(ReadFile(Path("outside")).value(), "kept");
  EXPECT_TRUE(ShredFolder(Path("tree")).ok());
}

TEST_F(FileTest, MakeFoldersIsFineWithWhatThereIs) {
  ASSERT_TRUE(MakeFolders(Path("a/b/c")).ok());
  ASSERT_TRUE(MakeFolders(Path("a/b/c")).ok());
  ASSERT_TRUE(MakeFolders(Path("a/b/c/")).ok());
  EXPECT_EQ(ListFolder(Path("a/b")).value(), std::vector<std::string>{"c"});
}

TEST(JoinPathTest, OneSlashBetween) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
  EXPECT_EQ(JoinPath("/", "b"), "/b");
}

}  // namespace
}  // namespace unlearn
