#include "offset/base/parse_json.h"

#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

std::string Nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(ParseJsonTest, ReadsADocument) {
  const auto json = ParseJson(R"( {"a": [1, "x"]} )");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(*json, (nlohmann::json{{"a", {1, "x"}}}));
}

TEST(ParseJsonTest, RefusesWhatIsNoJson) {
  for (const std::string text : {"", "{", "[1,]", "\"\xff\"", "{} {}", "\"\\"}) {
    const absl::Status status = ParseJson(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_TRUE(absl::StrContains(status.message(), "not valid JSON")) << status;
  }
}

TEST(ParseJsonTest, RefusesDeepNestingWithoutRecursion) {
  EXPECT_TRUE(ParseJson(Nested(kMaxJsonNesting)).ok());
  for (const int depth : {kMaxJsonNesting + 1, 1000000}) {
    const absl::Status status = ParseJson(Nested(depth)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(status.message(), "inside one another")) << status;
  }
}

TEST(ParseJsonTest, BracketsInStringsDoNotNest) {
  const std::string brackets = std::string(200, '[') + R"(\"\\)" + std::string(200, '{');
  EXPECT_TRUE(ParseJson("[\"" + brackets + "\", \"]\"]").ok());
  EXPECT_FALSE(ParseJson("[\"\\\\\", " + Nested(kMaxJsonNesting) + "]").ok());
}

}  // namespace
}  // namespace unlearn
