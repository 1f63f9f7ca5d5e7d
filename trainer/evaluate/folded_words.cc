#include "trainer/evaluate/folded_words.h"

#include <utf8proc.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace unlearn {
namespace {

using CodePoints = std::vector<utf8proc_int32_t>;

constexpr char kReplacementCharacter[] = "\xEF\xBF\xBD";

// The text with U+FFFD for each byte that is not part of valid UTF-8.
std::string WithValidUtf8(absl::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto size = static_cast<utf8proc_ssize_t>(text.size());
  for (utf8proc_ssize_t i = 0; i < size;) {
    utf8proc_int32_t code_point;
    const utf8proc_ssize_t width = utf8proc_iterate(bytes + i, size - i, &code_point);
    if (width > 0) {
      valid.append(text.data() + i, width);
      i += width;
    } else {
      valid += kReplacementCharacter;
      ++i;
    }
  }
  return valid;
}

CodePoints Fold(absl::string_view text) {
  constexpr auto kOptions = static_cast<utf8proc_option_t>(
      UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
  const std::string valid = WithValidUtf8(text);
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(valid.data());
  // The first call only counts. Neither can fail on valid UTF-8.
  const utf8proc_ssize_t length = utf8proc_decompose(bytes, valid.size(), nullptr, 0, kOptions);
  CodePoints folded(std::max<utf8proc_ssize_t>(length, 0));
  utf8proc_decompose(bytes, valid.size(), folded.data(), folded.size(), kOptions);
  const utf8proc_ssize_t composed =
      utf8proc_normalize_utf32(folded.data(), folded.size(), kOptions);
  folded.resize(std::max<utf8proc_ssize_t>(composed, 0));
  return folded;
}

enum class Kind { kSeparator, kSymbol, kDigit, kLetter, kWholeWord };

bool IsUnspacedScript(utf8proc_int32_t code_point) {
  return utf8proc_charwidth(code_point) == 2 ||             // Han, kana, hangul
         (code_point >= 0x0E00 && code_point <= 0x0EFF) ||  // Thai, Lao
         (code_point >= 0x1000 && code_point <= 0x109F) ||  // Myanmar
         (code_point >= 0x1780 && code_point <= 0x17FF);    // Khmer
}

Kind KindOf(utf8proc_int32_t code_point) {
  switch (code_point) {
    case '#':
    case '%':
    case '&':
    case '@':
      return Kind::kSymbol;
    default:
      break;
  }
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC:
      return Kind::kSeparator;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SO:
      return Kind::kSymbol;
    case UTF8PROC_CATEGORY_ND:
      return Kind::kDigit;
    default:
      return IsUnspacedScript(code_point) ? Kind::kWholeWord : Kind::kLetter;
  }
}

// Turns the dots and commas inside a number into letters, so that they stay. Several in a row of
// digits make a date or a list, unless three digits follow each.
void KeepNumbersTogether(const CodePoints& text, std::vector<Kind>& kinds) {
  const auto digits_end = [&](size_t i) {
    while (i < kinds.size() && kinds[i] == Kind::kDigit) ++i;
    return i;
  };
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (kinds[i] != Kind::kDigit) continue;
    std::vector<size_t> inner;
    bool thousands = true;
    size_t end = digits_end(i);
    while (end + 1 < kinds.size() && (text[end] == '.' || text[end] == ',') &&
           kinds[end + 1] == Kind::kDigit) {
      inner.push_back(end);
      end = digits_end(end + 1);
      thousands = thousands && end - inner.back() == 4;
    }
    if (inner.size() == 1 || thousands) {
      for (const size_t position : inner) kinds[position] = Kind::kLetter;
    }
    i = end;
  }
}

}  // namespace

std::vector<std::string> FoldedWords(absl::string_view text, Symbols symbols) {
  const CodePoints folded = Fold(text);
  std::vector<Kind> kinds(folded.size());
  std::transform(folded.begin(), folded.end(), kinds.begin(), KindOf);
  KeepNumbersTogether(folded, kinds);

  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  const auto append = [&](utf8proc_int32_t code_point) {
    utf8proc_uint8_t bytes[4];
    word.append(reinterpret_cast<char*>(bytes), utf8proc_encode_char(code_point, bytes));
  };
  for (size_t i = 0; i < folded.size(); ++i) {
    switch (kinds[i]) {
      case Kind::kDigit:
      case Kind::kLetter:
        append(folded[i]);
        break;
      case Kind::kWholeWord:
        finish();
        append(folded[i]);
        finish();
        break;
      case Kind::kSymbol:
        finish();
        if (symbols == Symbols::kKeep) append(folded[i]);
        finish();
        break;
      case Kind::kSeparator:
        finish();
        break;
    }
  }
  finish();
  return words;
}

}  // namespace unlearn
