#ifndef OFFSET_TEXT_PRE_TOKENIZER_H_
#define OFFSET_TEXT_PRE_TOKENIZER_H_

#include <optional>
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
  // Puts a space before each piece that does not start with one; done before the pattern.
  bool add_prefix_space = false;
  std::optional<Regex> pattern;
  // False where the text between matches is dropped (behavior Removed with invert).
  bool keep_gaps = true;
};

// Runs its steps in order, each on the pieces of the one before. Words stay raw bytes here; the
// byte alphabet is only how tokenizer.json writes them. Immutable and thread-safe.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}

  // `text` must be valid UTF-8. The words are valid during the call of `on_word` only. Errors: see
  // Regex::Split.
  absl::Status Split(absl::string_view text,
                     absl::FunctionRef<absl::Status(absl::string_view)> on_word) const;

 private:
  absl::Status Run(size_t step, absl::string_view piece,
                   absl::FunctionRef<absl::Status(absl::string_view)> on_word) const;

  std::vector<PreTokenizerStep> steps_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_PRE_TOKENIZER_H_
