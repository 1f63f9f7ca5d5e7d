#include "trainer/train/encoded_item.h"

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"

namespace unlearn {

absl::StatusOr<PromptTemplate> PromptTemplate::Parse(const std::string& text) {
  constexpr absl::string_view kPlace = "{question}";
  const size_t at = text.find(kPlace.data());
  if (at == std::string::npos || text.find(kPlace.data(), at + 1) != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--prompt_template: \"", text, "\" must hold {question} exactly once, for example \"",
        kDefaultPromptTemplate, "\""));
  }
  return PromptTemplate(text.substr(0, at), text.substr(at + kPlace.size()));
}

std::string PromptTemplate::Prompt(absl::string_view question) const {
  return absl::StrCat(before_, question, after_);
}

std::vector<int32_t> EncodedItem::Tokens() const {
  std::vector<int32_t> tokens = prompt;
  tokens.insert(tokens.end(), answer.begin(), answer.end());
  return tokens;
}

absl::StatusOr<EncodedItem> EncodeItem(const Tokenizer& tokenizer, const PromptTemplate& format,
                                       absl::string_view question, absl::string_view answer,
                                       int32_t eos) {
  EncodedItem item;
  ASSIGN_OR_RETURN(item.prompt, tokenizer.Encode(format.Prompt(question)));
  ASSIGN_OR_RETURN(item.answer, tokenizer.EncodeContinuation(absl::StrCat(" ", answer)));
  item.answer.push_back(eos);
  return item;
}

absl::StatusOr<EncodedItem> EncodeText(const Tokenizer& tokenizer, absl::string_view text,
                                       int32_t bos_or_minus_one, int32_t eos) {
  EncodedItem item;
  ASSIGN_OR_RETURN(item.answer, tokenizer.Encode(text));
  if (bos_or_minus_one >= 0) {
    item.prompt.push_back(bos_or_minus_one);
  } else if (!item.answer.empty()) {
    item.prompt.push_back(item.answer.front());
    item.answer.erase(item.answer.begin());
  }
  item.answer.push_back(eos);
  return item;
}

}  // namespace unlearn
