#include "tools/cli/output.h"

#include <charconv>
#include <cmath>

#include "absl/time/time.h"

namespace unlearn {

void PrintJson(const Json& json, Console& console) {
  console.out << json.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
}

double ShortDouble(float value) {
  if (!std::isfinite(value)) return value;
  char digits[64];
  const auto written = std::to_chars(digits, digits + sizeof(digits), value);
  double result = 0;
  std::from_chars(digits, written.ptr, result);
  return result;
}

std::string ForTerminal(absl::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char byte = text[i];
    // U+0080 to U+009F (C2 80 to C2 9F) are control characters too.
    const bool wide_control = byte == 0xC2 && i + 1 < text.size() &&
                              static_cast<unsigned char>(text[i + 1]) >= 0x80 &&
                              static_cast<unsigned char>(text[i + 1]) < 0xA0;
    const bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F;
    if (wide_control) ++i;
    safe.push_back(control || wide_control ? '?' : static_cast<char>(byte));
  }
  return safe;
}

void PrintText(absl::string_view text, Console& console) {
  if (console.out_is_terminal) {
    console.out << ForTerminal(text);
  } else {
    console.out << text;
  }
  console.out << std::flush;
}

std::string FormatUnixSeconds(int64_t seconds) {
  if (seconds == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", absl::FromUnixSeconds(seconds),
                          absl::UTCTimeZone());
}

}  // namespace unlearn
