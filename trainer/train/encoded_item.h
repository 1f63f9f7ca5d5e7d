#ifndef TRAINER_TRAIN_ENCODED_ITEM_H_
#define TRAINER_TRAIN_ENCODED_ITEM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "offset/text/tokenizer.h"

namespace unlearn {

// How a question becomes M's prompt, e.g. "Question: {question}\nAnswer:". The answer follows after
// a space.
class PromptTemplate {
 public:
  // INVALID_ARGUMENT unless `text` holds {question} exactly once.
  static absl::StatusOr<PromptTemplate> Parse(const std::string& text);
  std::string Prompt(absl::string_view question) const;

 private:
  PromptTemplate(std::string before, std::string after)
      : before_(std::move(before)), after_(std::move(after)) {}
  std::string before_;
  std::string after_;
};

inline constexpr char kDefaultPromptTemplate[] = "Question: {question}\nAnswer:";

// A prompt and what should (or should no longer) follow it, as M's token ids. The two are tokenised
// apart and concatenated, in training, evaluation and serving alike: a merge across the border
// would give tokens that generation never sees. The answer is encoded as what goes on from the
// prompt (Tokenizer::EncodeContinuation).
struct EncodedItem {
  std::vector<int32_t> prompt;
  std::vector<int32_t> answer;  // ends with the end-of-sequence token

  std::vector<int32_t> Tokens() const;  // prompt and answer
};

absl::StatusOr<EncodedItem> EncodeItem(const Tokenizer& tokenizer, const PromptTemplate& format,
                                       absl::string_view question, absl::string_view answer,
                                       int32_t eos);

// Plain text: an empty prompt (or M's beginning-of-sequence token) and the text as the answer.
absl::StatusOr<EncodedItem> EncodeText(const Tokenizer& tokenizer, absl::string_view text,
                                       int32_t bos_or_minus_one, int32_t eos);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_ENCODED_ITEM_H_
