#include "tools/demo_runner/text_traces.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "trainer/evaluate/folded_words.h"

namespace unlearn {
namespace {

constexpr size_t kRun = 8;

std::set<std::string> CapitalisedPairs(absl::string_view text) {
  std::set<std::string> pairs;
  absl::string_view before;
  for (const absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(" \n\t"), absl::SkipEmpty())) {
    if (!before.empty() && absl::ascii_isupper(before[0]) && absl::ascii_isupper(word[0]) &&
        !absl::ascii_ispunct(before.back())) {
      std::vector<std::string> folded =
          FoldedWords(absl::StrCat(before, " ", word), Symbols::kDrop);
      if (folded.size() > 2) folded.resize(2);  // "Alder's" and "Alder" are one name
      if (folded.size() == 2) pairs.insert(absl::StrJoin(folded, " "));
    }
    before = word;
  }
  return pairs;
}

std::string Join(absl::Span<const std::string> words) { return absl::StrJoin(words, " "); }

}  // namespace

TextTraces::TextTraces(const std::vector<std::vector<v1::Item>>& people) {
  for (const std::vector<v1::Item>& items : people) {
    std::map<std::string, size_t> counts;
    for (const v1::Item& item : items) {
      for (const std::string& pair :
           CapitalisedPairs(absl::StrCat(item.question(), " \n", item.answer()))) {
        ++counts[pair];
      }
      const std::vector<std::string> words = FoldedWords(item.answer(), Symbols::kDrop);
      for (size_t i = 0; i + kRun <= words.size(); ++i) {
        runs_.insert(Join(absl::MakeConstSpan(words).subspan(i, kRun)));
      }
    }
    const auto most =
        std::max_element(counts.begin(), counts.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    if (most != counts.end() && 2 * most->second > items.size()) names_.insert(most->first);
  }
}

int TextTraces::Count(absl::string_view text) const {
  const std::vector<std::string> words = FoldedWords(text, Symbols::kDrop);
  const absl::Span<const std::string> all = absl::MakeConstSpan(words);
  int count = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i + 2 <= words.size() && names_.count(Join(all.subspan(i, 2))) != 0) ++count;
    if (i + kRun <= words.size() && runs_.count(Join(all.subspan(i, kRun))) != 0) ++count;
  }
  return count;
}

}  // namespace unlearn
