#ifndef OFFSET_TEXT_UTF8_H_
#define OFFSET_TEXT_UTF8_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace unlearn {

// What stands at the start of a byte string.
enum class Utf8Kind {
  kComplete,    // one code point
  kInvalid,     // bytes that no continuation can make valid
  kIncomplete,  // a valid beginning, cut off by the end of the string
};

// One step through a byte string. An ill-formed step is as long as Unicode's "maximal subpart"
// (chapter 3.9), so that each becomes exactly one U+FFFD, as in other implementations.
struct Utf8Step {
  Utf8Kind kind;
  size_t length;        // bytes, at least 1
  char32_t code_point;  // of a complete step; 0 otherwise
};

// `bytes` must not be empty.
Utf8Step NextUtf8(absl::string_view bytes);

// The number of leading bytes that are valid UTF-8 (bytes.size() when all are).
size_t ValidUtf8Prefix(absl::string_view bytes);

void AppendUtf8(char32_t code_point, std::string* out);

// `bytes` with every ill-formed subpart replaced by U+FFFD.
std::string ReplaceInvalidUtf8(absl::string_view bytes);

// The UTF-8 form of U+FFFD.
extern const absl::string_view kReplacementCharacter;

}  // namespace unlearn

#endif  // OFFSET_TEXT_UTF8_H_
