#include "offset/text/pre_tokenizer.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "offset/base/status_macros.h"

namespace unlearn {

const absl::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

absl::Status PreTokenizer::Split(absl::string_view text, PieceStart start, OnWord on_word) const {
  if (text.empty()) return absl::OkStatus();
  return Run(0, text, start, on_word);
}

absl::Status PreTokenizer::Run(size_t step, absl::string_view piece, PieceStart start,
                               OnWord on_word) const {
  if (step == steps_.size()) return on_word(piece);
  const PreTokenizerStep& current = steps_[step];
  if (!current.metaspace.empty()) return RunMetaspace(step, piece, start, on_word);
  std::string prefixed;
  if (current.add_prefix_space && start != PieceStart::kContinued && piece[0] != ' ') {
    prefixed = absl::StrCat(" ", piece);
    piece = prefixed;
  }
  if (!current.pattern.has_value()) return Run(step + 1, piece, start, on_word);
  const auto go_on = [&](absl::string_view part) {
    return Run(step + 1, part, part.data() == piece.data() ? start : PieceStart::kWithin, on_word);
  };
  // A word that a match may still end; pieces lie side by side, so it grows in place.
  absl::string_view open;
  bool after_match = false;
  RETURN_IF_ERROR(
      current.pattern->Split(piece, [&](absl::string_view part, bool is_match) -> absl::Status {
        switch (current.match) {
          case PreTokenizerStep::Match::kIsolated:
            return go_on(part);
          case PreTokenizerStep::Match::kOnly:
            return is_match ? go_on(part) : absl::OkStatus();
          case PreTokenizerStep::Match::kEndsWord:
            break;
        }
        const bool ends = is_match && !after_match && !open.empty();
        after_match = is_match;
        if (ends) {
          open = absl::string_view(open.data(), open.size() + part.size());
          return absl::OkStatus();
        }
        const absl::string_view whole = open;
        open = part;
        return whole.empty() ? absl::OkStatus() : go_on(whole);
      }));
  return open.empty() ? absl::OkStatus() : go_on(open);
}

absl::Status PreTokenizer::RunMetaspace(size_t step, absl::string_view piece, PieceStart start,
                                        OnWord on_word) const {
  const PreTokenizerStep& current = steps_[step];
  std::string text = absl::StrReplaceAll(piece, {{" ", current.metaspace}});
  const bool wanted =
      (current.prepend == PreTokenizerStep::Prepend::kAlways && start != PieceStart::kContinued) ||
      (current.prepend == PreTokenizerStep::Prepend::kFirst && start == PieceStart::kText);
  if (wanted && !absl::StartsWith(text, current.metaspace)) text.insert(0, current.metaspace);
  if (!current.split_words) return Run(step + 1, text, start, on_word);
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t next = text.find(current.metaspace, begin + 1);
    const absl::string_view word = absl::string_view(text).substr(begin, next - begin);
    RETURN_IF_ERROR(Run(step + 1, word, begin == 0 ? start : PieceStart::kWithin, on_word));
    if (next == std::string::npos) break;
    begin = next;
  }
  return absl::OkStatus();
}

}  // namespace unlearn
