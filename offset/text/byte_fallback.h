#ifndef OFFSET_TEXT_BYTE_FALLBACK_H_
#define OFFSET_TEXT_BYTE_FALLBACK_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace unlearn {

// How vocabularies of characters write a single byte: "<0x0A>", in capitals.
std::string FallbackToken(uint8_t byte);

// The byte of such a token; nullopt for any other.
std::optional<uint8_t> FallbackByte(absl::string_view token);

}  // namespace unlearn

#endif  // OFFSET_TEXT_BYTE_FALLBACK_H_
