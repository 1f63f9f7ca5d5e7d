#include "trainer/queue/sealed_folder.h"

#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

class SealedFolderTest : public testing::Test {
 protected:
  void SetUp() override { path_ = absl::StrCat(testing::TempDir(), "/sealed_", getpid(), "/work"); }
  void TearDown() override { ASSERT_TRUE(ShredFolder(path_).ok()); }

  std::shared_ptr<const SealingKey> key_ =
      std::make_shared<const SealingKey>(SealingKey::Generate());
  std::string path_;
};

TEST_F(SealedFolderTest, ReadsBackWhatWasWrittenAndStoresNothingInClear) {
  SealedFolder folder(path_, key_);
  EXPECT_FALSE(FileExists(path_));
  EXPECT_EQ(folder.Read("logits").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(folder.Write("logits", "a secret about somebody").ok());
  ASSERT_TRUE(folder.Write("empty", "").ok());
  EXPECT_TRUE(folder.Has("logits"));
  EXPECT_EQ(*folder.Read("logits"), "a secret about somebody");
  EXPECT_EQ(*folder.Read("empty"), "");
  EXPECT_FALSE(absl::StrContains(*ReadFile(JoinPath(path_, "logits")), "secret"));
  ASSERT_TRUE(folder.Write("logits", "other").ok());
  EXPECT_EQ(*folder.Read("logits"), "other");
}

TEST_F(SealedFolderTest, RefusesAnotherKeyDamageAndExchangedFiles) {
  SealedFolder folder(path_, key_);
  ASSERT_TRUE(folder.Write("a", "first").ok());
  ASSERT_TRUE(folder.Write("b", "second").ok());
  SealedFolder other(path_, std::make_shared<const SealingKey>(SealingKey::Generate()));
  EXPECT_EQ(other.Read("a").status().code(), absl::StatusCode::kDataLoss);
  const std::string sealed = *ReadFile(JoinPath(path_, "a"));
  ASSERT_TRUE(WriteFileAtomically(JoinPath(path_, "b"), sealed).ok());
  EXPECT_EQ(folder.Read("b").status().code(), absl::StatusCode::kDataLoss);
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string damaged = sealed;
    damaged[i] ^= 1;
    ASSERT_TRUE(WriteFileAtomically(JoinPath(path_, "a"), damaged).ok());
    EXPECT_EQ(folder.Read("a").status().code(), absl::StatusCode::kDataLoss) << i;
  }
}

TEST_F(SealedFolderTest, RemoveAndDestroyAlsoWithoutTheKey) {
  SealedFolder folder(path_, key_);
  ASSERT_TRUE(folder.Write("a", "first").ok());
  ASSERT_TRUE(folder.Write("b", "second").ok());
  ASSERT_TRUE(folder.Remove("a").ok());
  ASSERT_TRUE(folder.Remove("a").ok());
  EXPECT_FALSE(folder.Has("a"));
  SealedFolder keyless(path_, nullptr);
  EXPECT_EQ(keyless.Write("c", "x").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(keyless.Read("b").status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(keyless.Destroy().ok());
  EXPECT_FALSE(FileExists(path_));
  ASSERT_TRUE(keyless.Destroy().ok());
}

TEST_F(SealedFolderTest, NamesCannotLeaveTheFolder) {
  SealedFolder folder(path_, key_);
  for (const std::string& name : {std::string("../x"), std::string("a/b"), std::string(""),
                                  std::string(".."), std::string("a\0b", 3)}) {
    EXPECT_EQ(folder.Write(name, "x").code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(folder.Remove(name).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(folder.Has(name));
  }
}

}  // namespace
}  // namespace unlearn
