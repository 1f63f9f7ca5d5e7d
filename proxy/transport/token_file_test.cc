#include "proxy/transport/token_file.h"

#include <sys/stat.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Write(const std::string& contents, int mode = 0600) {
  const std::string path = JoinPath(testing::TempDir(), "tokens");
  EXPECT_TRUE(WriteFileAtomically(path, contents).ok());
  EXPECT_EQ(chmod(path.c_str(), mode), 0);
  return path;
}

TEST(TokenFileTest, ReadsRolesAndSkipsComments) {
  const auto tokens = ReadTokenFile(Write("# ours\n\nuser  abc\r\n\tadmin d#f\n"));
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_EQ(tokens->size(), 2u);
  EXPECT_EQ((*tokens)[0].role, Role::kUser);
  EXPECT_EQ((*tokens)[0].token, "abc");
  EXPECT_EQ((*tokens)[1].role, Role::kAdmin);
  EXPECT_EQ((*tokens)[1].token, "d#f");
}

TEST(TokenFileTest, RefusesFilesOthersCanReadOrChange) {
  for (const int mode : {0644, 0604, 0601, 0620}) {
    const auto tokens = ReadTokenFile(Write("user abc\n", mode));
    EXPECT_EQ(tokens.status().code(), absl::StatusCode::kPermissionDenied) << mode;
    EXPECT_THAT(tokens.status().message(), HasSubstr("chmod 600 "));
  }
  EXPECT_TRUE(ReadTokenFile(Write("user abc\n", 0640)).ok());
}

TEST(TokenFileTest, ErrorsNameTheLineButNeverAToken) {
  for (const char* bad : {"user ok1\nuser s3cret extra\n", "user ok1\ns3cret\n",
                          "user ok1\nroot s3cret\n", "user s3cret\nadmin s3cret\n",
                          "user ok1\nuser s3cret\xC3\xA9\n", "user ok1\ns3cret user\n"}) {
    const auto tokens = ReadTokenFile(Write(bad));
    EXPECT_EQ(tokens.status().code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(tokens.status().message()),
                AllOf(HasSubstr("--token_file"), HasSubstr("line 2"), Not(HasSubstr("s3cret"))));
  }
}

TEST(TokenFileTest, RefusesEmptyAndMissingFiles) {
  EXPECT_EQ(ReadTokenFile(Write("# nothing\n")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadTokenFile("/nowhere/tokens").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadTokenFile(testing::TempDir()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TokenFileTest, AClientHasOneToken) {
  EXPECT_EQ(ReadClientToken(Write("abc\n")).value(), "abc");
  EXPECT_EQ(ReadClientToken(Write("# me\nadmin abc\n")).value(), "abc");
  EXPECT_EQ(ReadClientToken(Write("user abc\nadmin def\n")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadClientToken(Write("chief abc\n")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadClientToken(Write("abc\n", 0644)).status().code(),
            absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace unlearn
