#include "offset/text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "offset/base/status_macros.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

// Unicode's White_Space.
bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// A word character as Unicode's UTS #18 defines it: alphabetic, marks, decimal digits, connector
// punctuation and the join controls.
bool IsWord(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      // Alphabetic symbols: circled, squared and negative Latin letters.
      return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
             (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189) || c == 0x200C ||
             c == 0x200D;
  }
}

// Where the last code point before `end` starts.
size_t PreviousStart(absl::string_view text, size_t end) {
  size_t start = end - 1;
  while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
  return start;
}

bool EndsWithWord(absl::string_view text) {
  if (text.empty()) return false;
  return IsWord(NextUtf8(text.substr(PreviousStart(text, text.size()))).code_point);
}

bool StartsWithWord(absl::string_view text) {
  return !text.empty() && IsWord(NextUtf8(text).code_point);
}

size_t LeadingSpace(absl::string_view text) {
  size_t end = 0;
  while (end < text.size()) {
    const Utf8Step step = NextUtf8(text.substr(end));
    if (!IsSpace(step.code_point)) break;
    end += step.length;
  }
  return end;
}

size_t TrailingSpaceStart(absl::string_view text) {
  size_t start = text.size();
  while (start > 0) {
    const size_t previous = PreviousStart(text, start);
    if (!IsSpace(NextUtf8(text.substr(previous)).code_point)) break;
    start = previous;
  }
  return start;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), nodes_(1) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i].content.empty()) continue;
    int32_t node = 0;
    for (const char byte : tokens_[i].content) {
      int32_t child = -1;
      for (const auto& [key, index] : nodes_[node].children) {
        if (key == byte) child = index;
      }
      if (child < 0) {
        child = static_cast<int32_t>(nodes_.size());
        nodes_[node].children.emplace_back(byte, child);
        nodes_.emplace_back();
      }
      node = child;
    }
    if (nodes_[node].token < 0) nodes_[node].token = static_cast<int32_t>(i);
  }
  first_.fill(-1);
  for (const auto& [key, index] : nodes_[0].children) first_[static_cast<uint8_t>(key)] = index;
}

int32_t AddedTokenMatcher::LongestAt(absl::string_view text) const {
  int32_t longest = -1;
  int32_t node = first_[static_cast<uint8_t>(text[0])];
  for (size_t i = 1; node >= 0; ++i) {
    if (nodes_[node].token >= 0) longest = nodes_[node].token;
    if (i >= text.size()) break;
    int32_t child = -1;
    for (const auto& [key, index] : nodes_[node].children) {
      if (key == text[i]) child = index;
    }
    node = child;
  }
  return longest;
}

absl::Status AddedTokenMatcher::Split(
    absl::string_view text,
    absl::FunctionRef<absl::Status(absl::string_view, int32_t)> on_piece) const {
  size_t done = 0;  // everything before is handed out
  size_t position = 0;
  // A run of white space that was walked through: a token of white space stands in it many times.
  size_t run_start = 0;
  size_t run_end = 0;
  while (position < text.size()) {
    const int32_t index = LongestAt(text.substr(position));
    if (index < 0) {
      ++position;
      continue;
    }
    const AddedToken& token = tokens_[index];
    size_t start = position;
    size_t end = start + token.content.size();
    position = end;  // a match that does not count is still passed over
    if (token.single_word &&
        (EndsWithWord(text.substr(0, start)) || StartsWithWord(text.substr(end)))) {
      continue;
    }
    if (token.lstrip) {
      start = start > done ? done + TrailingSpaceStart(text.substr(done, start - done)) : done;
    }
    if (token.rstrip) {
      if (end < run_start || end >= run_end) {
        run_start = end;
        run_end = end + LeadingSpace(text.substr(end));
      }
      end = std::max(end, run_end);
    }
    end = std::max(end, start);  // white space taken before may reach past this token
    if (start > done) RETURN_IF_ERROR(on_piece(text.substr(done, start - done), -1));
    RETURN_IF_ERROR(on_piece(text.substr(start, end - start), token.id));
    done = end;
  }
  if (done < text.size()) RETURN_IF_ERROR(on_piece(text.substr(done), -1));
  return absl::OkStatus();
}

}  // namespace unlearn
