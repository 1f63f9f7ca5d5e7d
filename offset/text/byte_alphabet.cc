#include "offset/text/byte_alphabet.h"

#include <array>

#include "offset/text/utf8.h"

namespace unlearn {
namespace {

bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Maps {
  std::array<char32_t, 256> code_point;
  std::array<int16_t, 0x144> byte;  // by code point; -1: not of the alphabet
};

const Maps& AlphabetMaps() {
  static const Maps* const maps = [] {
    auto* result = new Maps;
    result->byte.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t code_point = StandsForItself(byte) ? static_cast<char32_t>(byte) : next++;
      result->code_point[byte] = code_point;
      result->byte[code_point] = static_cast<int16_t>(byte);
    }
    return result;
  }();
  return *maps;
}

}  // namespace

char32_t ByteAlphabetCodePoint(uint8_t byte) { return AlphabetMaps().code_point[byte]; }

std::string BytesToAlphabet(absl::string_view bytes) {
  const Maps& maps = AlphabetMaps();
  std::string written;
  written.reserve(bytes.size() + bytes.size() / 4);
  for (const char byte : bytes) AppendUtf8(maps.code_point[static_cast<uint8_t>(byte)], &written);
  return written;
}

std::optional<std::string> AlphabetToBytes(absl::string_view written) {
  const Maps& maps = AlphabetMaps();
  std::string bytes;
  bytes.reserve(written.size());
  while (!written.empty()) {
    const Utf8Step step = NextUtf8(written);
    if (step.kind != Utf8Kind::kComplete || step.code_point >= maps.byte.size()) {
      return std::nullopt;
    }
    const int16_t byte = maps.byte[step.code_point];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    written.remove_prefix(step.length);
  }
  return bytes;
}

}  // namespace unlearn
