#include "offset/text/byte_alphabet.h"

#include <gtest/gtest.h>

#include <set>

namespace unlearn {
namespace {

TEST(ByteAlphabetTest, IsOneToOne) {
  std::set<char32_t> code_points;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string raw(1, static_cast<char>(byte));
    code_points.insert(ByteAlphabetCodePoint(byte));
    EXPECT_EQ(AlphabetToBytes(BytesToAlphabet(raw)), raw);
  }
  EXPECT_EQ(code_points.size(), 256u);
}

TEST(ByteAlphabetTest, WritesAsGpt2Does) {
  EXPECT_EQ(BytesToAlphabet(" the\n"), "\u0120the\u010A");
  EXPECT_EQ(BytesToAlphabet("\xC3\xA9\x7F\xAD"), "\u00C3\u00A9\u0121\u0143");
}

TEST(ByteAlphabetTest, RefusesOtherCharacters) {
  EXPECT_FALSE(AlphabetToBytes("a b").has_value());
  EXPECT_FALSE(AlphabetToBytes("\u0144").has_value());
  EXPECT_FALSE(AlphabetToBytes("\u4E2D").has_value());
  EXPECT_FALSE(AlphabetToBytes("\xC3").has_value());
  EXPECT_EQ(AlphabetToBytes(""), "");
}

}  // namespace
}  // namespace unlearn
