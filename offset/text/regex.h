#ifndef OFFSET_TEXT_REGEX_H_
#define OFFSET_TEXT_REGEX_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// A splitting pattern of tokenizer.json. Those files mean Oniguruma's syntax; it is run by PCRE2,
// so what the two read differently is either rewritten (\s) or refused (\w, \b, $, x{1,3}+, nested
// classes, …) rather than split in another way without notice. Immutable and thread-safe.
class Regex {
 public:
  // UNIMPLEMENTED for a construct outside the common subset, INVALID_ARGUMENT for a pattern that
  // does not compile; both name the position in the pattern.
  static absl::StatusOr<Regex> Compile(absl::string_view pattern);

  Regex(Regex&&) = default;
  Regex& operator=(Regex&&) = default;

  // Cuts `text` (valid UTF-8) at every match, left to right: `on_piece(piece, is_match)` sees
  // matches and the gaps between them, never an empty piece. RESOURCE_EXHAUSTED when a match
  // needs more backtracking than PCRE2's limits allow.
  absl::Status Split(absl::string_view text,
                     absl::FunctionRef<absl::Status(absl::string_view, bool)> on_piece) const;

 private:
  struct Code;
  struct CodeDeleter {
    void operator()(Code* code) const;
  };
  explicit Regex(Code* code) : code_(code) {}

  std::unique_ptr<Code, CodeDeleter> code_;
};

// The pattern in PCRE2's syntax; see Regex::Compile for errors. Exposed for tests.
absl::StatusOr<std::string> TranslatePattern(absl::string_view pattern);

}  // namespace unlearn

#endif  // OFFSET_TEXT_REGEX_H_
