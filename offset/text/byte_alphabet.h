#ifndef OFFSET_TEXT_BYTE_ALPHABET_H_
#define OFFSET_TEXT_BYTE_ALPHABET_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace unlearn {

// GPT-2's one-to-one map of the 256 byte values to printable characters, in which vocabularies and
// merges of byte-level BPE are written: printable Latin-1 stands for itself, the other 68 bytes
// take U+0100 and following in order (so a space is written U+0120).

// The code point that stands for `byte`.
char32_t ByteAlphabetCodePoint(uint8_t byte);

// Raw bytes in written form.
std::string BytesToAlphabet(absl::string_view bytes);

// The raw bytes of a written form; nullopt when a character is not of the alphabet.
std::optional<std::string> AlphabetToBytes(absl::string_view written);

}  // namespace unlearn

#endif  // OFFSET_TEXT_BYTE_ALPHABET_H_
