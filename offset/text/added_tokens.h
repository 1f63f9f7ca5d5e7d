#ifndef OFFSET_TEXT_ADDED_TOKENS_H_
#define OFFSET_TEXT_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// An entry of tokenizer.json's added_tokens.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // matched only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;   // looked for in the normalised text
  bool special = false;
};

// Finds added tokens in text: leftmost, and of those the longest. Immutable and thread-safe.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher() : AddedTokenMatcher(std::vector<AddedToken>()) {}
  // `tokens`' contents are what is looked for, already normalised where that applies. Of equal
  // contents the first counts; empty ones never match.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // Cuts `text` (valid UTF-8) into added tokens (`id` >= 0) and what lies between (`id` -1, never
  // empty), in order. Stops at the first error of `on_piece`.
  absl::Status Split(
      absl::string_view text,
      absl::FunctionRef<absl::Status(absl::string_view piece, int32_t id)> on_piece) const;

 private:
  struct Node {
    int32_t token = -1;  // index into tokens_
    std::vector<std::pair<char, int32_t>> children;
  };

  // The longest token at the start of `text`, as an index into tokens_; -1: none.
  int32_t LongestAt(absl::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  // The root's children by byte, -1 where none: most positions end here.
  std::array<int32_t, 256> first_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_ADDED_TOKENS_H_
