#include "proxy/upstream/shared_vocabulary.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"

namespace unlearn {

absl::Status CheckSharedVocabulary(const UpstreamInfo& model, const std::string& pair,
                                   const std::string& tokenizer_fingerprint, int64_t pair_rows) {
  if (!model.tokenizer_fingerprint.empty() &&
      model.tokenizer_fingerprint != tokenizer_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--pair ", pair, ": its tokenizer (fingerprint ", tokenizer_fingerprint.substr(0, 12),
        ") is not M's (", model.tokenizer_fingerprint.substr(0, 12),
        "): the same id would mean another text; use a pair made with M's tokenizer"));
  }
  if (pair_rows > model.vocab_size) {
    return absl::FailedPreconditionError(absl::StrCat("--pair ", pair, " has ", pair_rows,
                                                      " rows of logits, M only ", model.vocab_size,
                                                      "; use a pair that shares M's vocabulary"));
  }
  return absl::OkStatus();
}

absl::Status CompareTokenizers(Upstream& upstream, const std::string& pair,
                               const Tokenizer& tokenizer) {
  // Words, cases, numbers, code, accents, other scripts, spaces: what tokenizers differ in.
  constexpr const char* kTexts[] = {
      "The quick brown fox jumps over the lazy dog.",
      "In 1969, 3.14159 and 2,718 people's HOUSES weren't empty!",
      "for (int i = 0; i < n; ++i) { total += values[i]; }",
      "na\u00efve caf\u00e9 \u00fcber Stra\u00dfe",
      "\u041f\u0440\u0438\u0432\u0435\u0442 \u4e16\u754c",
      "one  two   three\n\n\tfour",
  };
  for (const char* const text : kTexts) {
    const absl::StatusOr<std::vector<int32_t>> theirs = upstream.Tokenize(text);
    if (absl::IsUnimplemented(theirs.status())) return absl::OkStatus();
    if (!theirs.ok()) return theirs.status();
    ASSIGN_OR_RETURN(const std::vector<int32_t> ours, tokenizer.Encode(text));
    if (*theirs != ours) {
      return absl::FailedPreconditionError(absl::StrCat(
          "--pair ", pair, ": its tokenizer is not M's: of \"", text, "\" it makes ", ours.size(),
          " tokens, the upstream ", theirs->size(), theirs->size() == ours.size() ? " others" : "",
          "; use a pair made with M's tokenizer"));
    }
  }
  return absl::OkStatus();
}

}  // namespace unlearn
