#include "trainer/queue/key_ring.h"

#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

class KeyRingTest : public testing::Test {
 protected:
  void SetUp() override { path_ = absl::StrCat(testing::TempDir(), "/keys_", getpid()); }
  void TearDown() override { ASSERT_TRUE(ShredFolder(path_).ok()); }
  std::string path_;
};

TEST_F(KeyRingTest, EachKeyIsItsOwnAndStays) {
  const KeyRing ring(path_);
  EXPECT_TRUE(ring.Names()->empty());
  const auto a = ring.Create("req-a");
  const auto b = ring.Create("req-b");
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  const std::string sealed = (*a)->Seal("text", "context");
  EXPECT_EQ(*(*KeyRing(path_).Get("req-a"))->Open(sealed, "context", "test"), "text");
  EXPECT_FALSE((*b)->Open(sealed, "context", "test").ok());
  EXPECT_EQ(ring.Create("req-a").status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*ring.Names(), (std::vector<std::string>{"req-a", "req-b"}));
  struct stat info;
  ASSERT_EQ(stat(JoinPath(path_, "req-a.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600);
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700);
}

TEST_F(KeyRingTest, DestroyLeavesNothingAndMayBeRepeated) {
  const KeyRing ring(path_);
  ASSERT_TRUE(ring.Destroy("req-a").ok());
  ASSERT_TRUE(ring.Create("req-a").ok());
  ASSERT_TRUE(ring.Create("req-ab").ok());
  // Half a key of a killed Create.
  ASSERT_TRUE(WriteFileAtomically(JoinPath(path_, "req-a.key.new"), "0123").ok());
  ASSERT_TRUE(ring.Destroy("req-a").ok());
  ASSERT_TRUE(ring.Destroy("req-a").ok());
  EXPECT_EQ(*ListFolder(path_), std::vector<std::string>{"req-ab.key"});
  EXPECT_EQ(ring.Get("req-a").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(KeyRingTest, AHalfWrittenKeyIsNoKey) {
  const KeyRing ring(path_);
  ASSERT_TRUE(MakeFolders(path_).ok());
  ASSERT_TRUE(WriteFileAtomically(JoinPath(path_, "req-a.key.new"), "0123").ok());
  EXPECT_FALSE(ring.Has("req-a"));
  EXPECT_EQ(*ring.Names(), std::vector<std::string>{"req-a"});
  ASSERT_TRUE(ring.Create("req-a").ok());
  ASSERT_TRUE(ring.Get("req-a").ok());
}

TEST_F(KeyRingTest, NamesAreNotPaths) {
  const KeyRing ring(path_);
  for (const char* name : {"", "..", "../x", "a/b", "a.key"}) {
    EXPECT_EQ(ring.Create(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(ring.Destroy(name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

}  // namespace
}  // namespace unlearn
