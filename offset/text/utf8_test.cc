#include "offset/text/utf8.h"

#include <gtest/gtest.h>

namespace unlearn {
namespace {

TEST(Utf8Test, EveryCodePointRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(c, &text);
    const Utf8Step step = NextUtf8(text);
    ASSERT_EQ(step.kind, Utf8Kind::kComplete);
    ASSERT_EQ(step.code_point, c);
    ASSERT_EQ(step.length, text.size());
  }
}

TEST(Utf8Test, ValidPrefixEndsAtTheFirstIllFormedByte) {
  EXPECT_EQ(ValidUtf8Prefix(""), 0u);
  EXPECT_EQ(ValidUtf8Prefix("ab\xC3\xA9"), 4u);
  EXPECT_EQ(ValidUtf8Prefix("ab\xC3"), 2u);
  EXPECT_EQ(ValidUtf8Prefix("ab\xC3zz"), 2u);
  EXPECT_EQ(ValidUtf8Prefix("\xED\xA0\x80"), 0u);      // a surrogate
  EXPECT_EQ(ValidUtf8Prefix("a\xC0\x80"), 1u);         // overlong
  EXPECT_EQ(ValidUtf8Prefix("\xF4\x90\x80\x80"), 0u);  // above U+10FFFF
}

// The example of Unicode 15, section 3.9, table 3-11 and its neighbours.
TEST(Utf8Test, ReplacesMaximalSubparts) {
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(ReplaceInvalidUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(ReplaceInvalidUtf8("x\xF0\x9F\x98"), "x" + r);
  EXPECT_EQ(ReplaceInvalidUtf8(std::string("\0y", 2)), std::string("\0y", 2));
}

}  // namespace
}  // namespace unlearn
