#include "tools/pretrain/tokenizer_text.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "trainer/data/item_reader.h"
#include "trainer/train/encoded_item.h"

namespace unlearn {

absl::StatusOr<std::vector<std::string>> TokenizerTexts(const std::vector<std::string>& files) {
  ASSIGN_OR_RETURN(const PromptTemplate format, PromptTemplate::Parse(kDefaultPromptTemplate));
  std::vector<std::string> texts;
  for (const std::string& file : files) {
    if (!absl::EndsWith(file, ".jsonl")) {
      ASSIGN_OR_RETURN(const std::string contents, ReadFile(file));
      for (const absl::string_view line : absl::StrSplit(contents, '\n', absl::SkipEmpty())) {
        texts.emplace_back(line);
      }
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<v1::Item> items, ReadItems(file));
    for (const v1::Item& item : items) {
      if (!item.text().empty()) {
        texts.push_back(item.text());
        continue;
      }
      texts.push_back(format.Prompt(item.question()));
      texts.push_back(absl::StrCat(" ", item.answer()));
    }
  }
  return texts;
}

}  // namespace unlearn
