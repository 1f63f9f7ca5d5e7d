#include "offset/text/byte_fallback.h"

#include <gtest/gtest.h>

namespace unlearn {
namespace {

TEST(ByteFallbackTest, EveryByteAndBack) {
  EXPECT_EQ(FallbackToken(0x0A), "<0x0A>");
  EXPECT_EQ(FallbackToken(0xFF), "<0xFF>");
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(FallbackByte(FallbackToken(static_cast<uint8_t>(byte))), byte);
  }
}

TEST(ByteFallbackTest, NothingElseIsAByte) {
  for (const char* token : {"", "<0x0A", "<0x0a>", "<0xG0>", "<0x0A>>", "0x0A", "<0x 1>", "a"}) {
    EXPECT_FALSE(FallbackByte(token).has_value()) << token;
  }
}

}  // namespace
}  // namespace unlearn
