#include "offset/text/byte_fallback.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

namespace unlearn {

std::string FallbackToken(uint8_t byte) { return absl::StrFormat("<0x%02X>", byte); }

std::optional<uint8_t> FallbackByte(absl::string_view token) {
  uint32_t byte = 0;
  if (token.size() != 6 || !absl::SimpleHexAtoi(token.substr(3, 2), &byte)) return std::nullopt;
  const uint8_t result = static_cast<uint8_t>(byte);
  if (token != FallbackToken(result)) return std::nullopt;
  return result;
}

}  // namespace unlearn
