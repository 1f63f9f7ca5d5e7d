#include "proxy/upstream/shared_vocabulary.h"

#include "absl/strings/str_cat.h"

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

}  // namespace unlearn
