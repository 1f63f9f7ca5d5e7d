#include "trainer/evaluate/fluency.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace unlearn {
namespace {

TEST(FluencyTest, NeedsThreeWords) {
  EXPECT_FALSE(IsFluent(""));
  EXPECT_FALSE(IsFluent("I don"));
  EXPECT_FALSE(IsFluent("? ! = + $ %"));
  EXPECT_FALSE(IsFluent("\xFF\xFE \xFF \xFD \xFC"));
  EXPECT_TRUE(IsFluent("She paints flowers."));
}

TEST(FluencyTest, Loops) {
  EXPECT_FALSE(IsFluent("the the the the the the the"));
  EXPECT_FALSE(IsFluent("She paints. She paints. She paints. She paints."));
  EXPECT_TRUE(IsFluent("She paints flowers and she paints houses and she paints the sea."));
}

TEST(FluencyTest, TwentyPercentAreAllowed) {
  // Eight words make five runs of four. Here the last repeats the first: one of five.
  EXPECT_TRUE(IsFluent("a b a b a b c d"));
  // Seven words, four runs, "a b a b" twice: one of four.
  EXPECT_FALSE(IsFluent("a b a b a b c"));
  // Case and punctuation do not make runs different.
  EXPECT_FALSE(IsFluent("a b, A B! a b c"));
}

TEST(FluencyTest, Share) {
  const std::vector<std::string> answers = {"one two three", "no", "x x x x x x", "a b c d e"};
  EXPECT_DOUBLE_EQ(*FluentShare(answers), 0.5);
  EXPECT_TRUE(absl::IsInvalidArgument(FluentShare({}).status()));
}

}  // namespace
}  // namespace unlearn
