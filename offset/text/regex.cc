#include "offset/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

// Unicode's White_Space and its complement as class contents. PCRE2's own \s also matches U+180E.
constexpr absl::string_view kSpace =
    "\\x09-\\x0D\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}"
    "\\x{3000}";
constexpr absl::string_view kNotSpace =
    "\\x00-\\x08\\x0E-\\x1F\\x21-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}"
    "\\x{200B}-\\x{2027}\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}"
    "\\x{3001}-\\x{10FFFF}";

absl::Status Unsupported(size_t position, absl::string_view what) {
  return absl::UnimplementedError(absl::StrCat("the pattern uses ", what, " at byte ", position,
                                               ", which regular-expression engines read "
                                               "differently; rewrite it without"));
}

}  // namespace

absl::StatusOr<std::string> TranslatePattern(absl::string_view pattern) {
  std::string out;
  bool in_class = false;
  size_t class_start = 0;
  size_t i = 0;
  while (i < pattern.size()) {
    const char c = pattern[i];
    const absl::string_view rest = pattern.substr(i);
    if (c == '\\') {
      if (rest.size() < 2) return Unsupported(i, "a trailing backslash");
      const char escaped = rest[1];
      if (escaped == 's' || escaped == 'S') {
        const absl::string_view set = escaped == 's' ? kSpace : kNotSpace;
        if (in_class && ((i > class_start && pattern[i - 1] == '-') ||
                         (rest.size() > 3 && rest[2] == '-' && rest[3] != ']'))) {
          return Unsupported(i, "a range with a class as its end");
        }
        absl::StrAppend(&out, in_class ? "" : "[", set, in_class ? "" : "]");
        i += 2;
      } else if (escaped == 'p' || escaped == 'P') {
        const size_t close = rest.find('}');
        if (rest.size() < 4 || rest[2] != '{' || close == absl::string_view::npos) {
          return Unsupported(i, "a property without braces");
        }
        absl::StrAppend(&out, rest.substr(0, close + 1));
        i += close + 1;
      } else if (escaped == 'x') {
        size_t length = 2;
        if (rest.size() > 2 && rest[2] == '{') {
          const size_t close = rest.find('}');
          if (close == absl::string_view::npos) return Unsupported(i, "an open \\x{");
          length = close + 1;
        } else {
          while (length < 4 && length < rest.size() && absl::ascii_isxdigit(rest[length])) ++length;
          if (length != 4) return Unsupported(i, "\\x without two hexadecimal digits");
          // Two digits are a raw byte to one engine and a code point to the other.
          if (rest[2] >= '8') return Unsupported(i, "\\x80 or above without braces");
        }
        absl::StrAppend(&out, rest.substr(0, length));
        i += length;
      } else if (escaped == 'u') {
        if (rest.size() < 6) return Unsupported(i, "\\u without four hexadecimal digits");
        for (const char digit : rest.substr(2, 4)) {
          if (!absl::ascii_isxdigit(digit)) {
            return Unsupported(i, "\\u without four hexadecimal digits");
          }
        }
        absl::StrAppend(&out, "\\x{", rest.substr(2, 4), "}");
        i += 6;
      } else if (absl::ascii_isalnum(escaped) && !absl::StrContains("rntfvaedD", escaped)) {
        return Unsupported(i, absl::StrCat("\\", absl::string_view(&escaped, 1)));
      } else if (escaped == 'v') {  // PCRE2's \v is a class of line ends
        out.append("\\x0B");
        i += 2;
      } else {
        const size_t length = 1 + NextUtf8(rest.substr(1)).length;
        absl::StrAppend(&out, rest.substr(0, length));
        i += length;
      }
      continue;
    }
    if (in_class) {
      if (c == '[') return Unsupported(i, "a class inside a class");
      if (absl::StartsWith(rest, "&&")) return Unsupported(i, "a class intersection");
      if (c == ']') {
        if (i == class_start) return Unsupported(i, "] as a class's first character");
        in_class = false;
      }
      out.push_back(c);
      ++i;
      continue;
    }
    if (c == '[') {
      in_class = true;
      out.push_back(c);
      ++i;
      if (i < pattern.size() && pattern[i] == '^') {
        out.push_back('^');
        ++i;
      }
      class_start = i;
      continue;
    }
    if (c == '^' || c == '$') return Unsupported(i, absl::StrCat("the anchor ", rest.substr(0, 1)));
    if (c == '(' && rest.size() > 1 && (rest[1] == '?' || rest[1] == '*')) {
      bool known = false;
      for (const absl::string_view opening : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"}) {
        if (!absl::StartsWith(rest, opening)) continue;
        absl::StrAppend(&out, opening);
        i += opening.size();
        known = true;
        break;
      }
      if (!known) return Unsupported(i, absl::StrCat("the group ", rest.substr(0, 3)));
      continue;
    }
    if (c == '{') {  // an interval; a possessive + after it means repetition to Oniguruma
      const size_t close = rest.find('}');
      if (close == absl::string_view::npos || close < 2 || !absl::ascii_isdigit(rest[1])) {
        return Unsupported(i, "{ that is not an interval");
      }
      for (const char part : rest.substr(1, close - 1)) {
        if (!absl::ascii_isdigit(part) && part != ',') {
          return Unsupported(i, "{ that is not an interval");
        }
      }
      if (rest.size() > close + 1 && absl::StrContains("+?*", rest[close + 1])) {
        return Unsupported(i, "an interval with a suffix");
      }
      absl::StrAppend(&out, rest.substr(0, close + 1));
      i += close + 1;
      continue;
    }
    out.push_back(c);
    ++i;
  }
  if (in_class) return absl::InvalidArgumentError("the pattern has a class without its ]");
  return out;
}

struct Regex::Code {
  pcre2_code* compiled = nullptr;
  bool jit = false;
};

void Regex::CodeDeleter::operator()(Code* code) const {
  pcre2_code_free(code->compiled);
  delete code;
}

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern) {
  const size_t valid = ValidUtf8Prefix(pattern);
  if (valid != pattern.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the pattern is not valid UTF-8 at byte ", valid));
  }
  ASSIGN_OR_RETURN(const std::string translated, TranslatePattern(pattern));
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);  // what "." leaves out
  pcre2_code* compiled = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &error_offset, context);
  pcre2_compile_context_free(context);
  if (compiled == nullptr) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof(message));
    return absl::InvalidArgumentError(
        absl::StrCat("the pattern does not compile at byte ", error_offset,
                     " of its PCRE2 form: ", reinterpret_cast<const char*>(message)));
  }
  const bool jit = pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE) == 0;
  return Regex(new Code{compiled, jit});
}

absl::Status Regex::Split(absl::string_view text,
                          absl::FunctionRef<absl::Status(absl::string_view, bool)> on_piece) const {
  struct MatchDataDeleter {
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  };
  const std::unique_ptr<pcre2_match_data, MatchDataDeleter> data(
      pcre2_match_data_create(1, nullptr));
  if (data == nullptr) return absl::ResourceExhaustedError("no memory for a pattern match");
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t piece_start = 0;
  size_t search_from = 0;
  while (search_from < text.size()) {
    int found = pcre2_match(code_->compiled, subject, text.size(), search_from, PCRE2_NO_UTF_CHECK,
                            data.get(), nullptr);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its state on the heap
      found = pcre2_match(code_->compiled, subject, text.size(), search_from,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(), nullptr);
    }
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      PCRE2_UCHAR message[256];
      pcre2_get_error_message(found, message, sizeof(message));
      return absl::ResourceExhaustedError(absl::StrCat(
          "splitting a text of ", text.size(), " bytes by the tokenizer's pattern failed at byte ",
          search_from, ": ", reinterpret_cast<const char*>(message), "; send it in parts"));
    }
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data.get());
    const size_t start = offsets[0];
    const size_t end = offsets[1];
    if (start > piece_start) {
      RETURN_IF_ERROR(on_piece(text.substr(piece_start, start - piece_start), false));
    }
    if (end > start) RETURN_IF_ERROR(on_piece(text.substr(start, end - start), true));
    piece_start = end;
    search_from =
        end > start ? end : end + (end < text.size() ? NextUtf8(text.substr(end)).length : 1);
  }
  if (piece_start < text.size()) RETURN_IF_ERROR(on_piece(text.substr(piece_start), false));
  return absl::OkStatus();
}

}  // namespace unlearn
