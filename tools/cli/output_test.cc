#include "tools/cli/output.h"

#include <cmath>
#include <limits>
#include <sstream>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

TEST(ShortDouble, PrintsShortAndCastsBackExactly) {
  for (const float value : {-0.1f, 0.3f, 1e-38f, 16777217.0f, -12.345679f, 0.0f}) {
    EXPECT_EQ(static_cast<float>(ShortDouble(value)), value);
  }
  EXPECT_EQ(Json(ShortDouble(-0.1f)).dump(), "-0.1");
  EXPECT_TRUE(std::isinf(ShortDouble(-std::numeric_limits<float>::infinity())));
}

TEST(PrintJson, IsOneLineAndReplacesWhatIsNoUtf8) {
  std::ostringstream out, err;
  Console console{out, err};
  PrintJson({{"text", "a\nb\xff"}, {"value", std::nan("")}}, console);
  EXPECT_EQ(out.str(), "{\"text\":\"a\\nb\xef\xbf\xbd\",\"value\":null}\n");
}

TEST(ForTerminal, DefusesControlCharactersOnly) {
  EXPECT_EQ(ForTerminal("a\x1b[31m\r\b\x7f"), "a?[31m???");
  EXPECT_EQ(ForTerminal("line\n\ttab \u00e9 \u4e2d"), "line\n\ttab \u00e9 \u4e2d");
  EXPECT_EQ(ForTerminal("\u009b31m"), "?31m");
}

TEST(FormatUnixSeconds, IsUtc) {
  EXPECT_EQ(FormatUnixSeconds(0), "-");
  EXPECT_EQ(FormatUnixSeconds(1700000000), "2023-11-14 22:13:20Z");
}

}  // namespace
}  // namespace unlearn
