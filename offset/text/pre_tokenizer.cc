#include "offset/text/pre_tokenizer.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace unlearn {

const absl::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

absl::Status PreTokenizer::Split(absl::string_view text,
                                 absl::FunctionRef<absl::Status(absl::string_view)> on_word) const {
  if (text.empty()) return absl::OkStatus();
  return Run(0, text, on_word);
}

absl::Status PreTokenizer::Run(size_t step, absl::string_view piece,
                               absl::FunctionRef<absl::Status(absl::string_view)> on_word) const {
  if (step == steps_.size()) return on_word(piece);
  const PreTokenizerStep& current = steps_[step];
  std::string prefixed;
  if (current.add_prefix_space && piece[0] != ' ') {
    prefixed = absl::StrCat(" ", piece);
    piece = prefixed;
  }
  if (!current.pattern.has_value()) return Run(step + 1, piece, on_word);
  return current.pattern->Split(piece, [&](absl::string_view part, bool is_match) {
    if (!is_match && !current.keep_gaps) return absl::OkStatus();
    return Run(step + 1, part, on_word);
  });
}

}  // namespace unlearn
