#include "offset/store/folder_lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "offset/base/file.h"

namespace unlearn {
namespace {

using Kind = FolderLock::Kind;

class FolderLockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/lock.XXXXXX";
    ASSERT_NE(mkdtemp(&name[0]), nullptr);
    folder_ = name;
    path_ = JoinPath(folder_, "LOCK");
  }
  void TearDown() override { EXPECT_TRUE(ShredFolder(folder_).ok()); }
  absl::StatusCode Try(Kind kind) {
    return FolderLock::Acquire(path_, kind, absl::Milliseconds(30)).status().code();
  }
  std::string folder_;
  std::string path_;
};

TEST_F(FolderLockTest, ExclusiveExcludesAndEndsWithTheObject) {
  {
    auto lock = FolderLock::Acquire(path_, Kind::kExclusive);
    ASSERT_TRUE(lock.ok()) << lock.status();
    const FolderLock moved = *std::move(lock);
    EXPECT_EQ(Try(Kind::kExclusive), absl::StatusCode::kUnavailable);
    EXPECT_EQ(Try(Kind::kShared), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(Try(Kind::kExclusive), absl::StatusCode::kOk);
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600);
}

TEST_F(FolderLockTest, SharedExcludesExclusiveOnly) {
  const auto lock = FolderLock::Acquire(path_, Kind::kShared);
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_EQ(Try(Kind::kShared), absl::StatusCode::kOk);
  EXPECT_EQ(Try(Kind::kExclusive), absl::StatusCode::kUnavailable);
}

TEST_F(FolderLockTest, EndsWithAKilledProcess) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto lock = FolderLock::Acquire(path_, Kind::kExclusive);
    (void)!write(ready[1], lock.ok() ? "y" : "n", 1);
    pause();
    _exit(0);
  }
  ASSERT_GT(child, 0);  // kill(-1) would hit every process
  char answer = 0;
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_EQ(Try(Kind::kExclusive), absl::StatusCode::kUnavailable);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(Try(Kind::kExclusive), absl::StatusCode::kOk);
  close(ready[0]);
  close(ready[1]);
}

}  // namespace
}  // namespace unlearn
