#ifndef OFFSET_TEXT_PRE_TOKENIZER_H_
#define OFFSET_TEXT_PRE_TOKENIZER_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "offset/text/regex.h"

namespace unlearn {

// GPT-2's splitting pattern, which ByteLevel uses with use_regex.
extern const absl::string_view kGpt2Pattern;

// One step of cutting text into the words that BPE works on.
struct PreTokenizerStep {
  // What becomes of a match of the pattern: a word of its own; the only words there are (behavior
  // Removed with invert); the end of the word before it.
  enum class Match { kIsolated, kOnly, kEndsWord };

  // Puts a space before each piece that does not start with one; done before the pattern.
  bool add_prefix_space = false;
  std::optional<Regex> pattern;
  Match match = Match::kIsolated;

  // Metaspace instead: spaces become this character, which may be put before a piece that does not
  // start with it, and words begin with it. Empty: this step is no Metaspace.
  std::string metaspace;
  enum class Prepend { kNever, kFirst, kAlways } prepend = Prepend::kNever;
  bool split_words = true;
};

// What a piece begins: the text; something after an added token or another piece; what goes on from
// another text, so that no space is put before it.
enum class PieceStart { kText, kWithin, kContinued };

// Runs its steps in order, each on the pieces of the one before. Words stay raw bytes here; the
// byte alphabet is only how tokenizer.json writes them. Immutable and thread-safe.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}

  using OnWord = absl::FunctionRef<absl::Status(absl::string_view)>;

  // `text` must be valid UTF-8. The words are valid during the call of `on_word` only. Errors: see
  // Regex::Split.
  absl::Status Split(absl::string_view text, PieceStart start, OnWord on_word) const;

 private:
  absl::Status Run(size_t step, absl::string_view piece, PieceStart start, OnWord on_word) const;
  absl::Status RunMetaspace(size_t step, absl::string_view piece, PieceStart start,
                            OnWord on_word) const;

  std::vector<PreTokenizerStep> steps_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_PRE_TOKENIZER_H_
