#include "trainer/evaluate/fact_rate.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "trainer/evaluate/folded_words.h"

namespace unlearn {

absl::StatusOr<bool> ContainsFact(absl::string_view answer, absl::string_view value) {
  const std::vector<std::string> wanted = FoldedWords(value, Symbols::kKeep);
  if (wanted.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a value of ", value.size(),
                     " bytes holds no word to look for; give the fact itself as the item's value"));
  }
  const std::vector<std::string> words = FoldedWords(answer, Symbols::kKeep);
  return std::search(words.begin(), words.end(), wanted.begin(), wanted.end()) != words.end();
}

absl::StatusOr<ClusteredInterval> FactRate(absl::Span<const FactItem> items, uint64_t seed) {
  std::vector<double> scores;
  std::vector<absl::string_view> persons;
  scores.reserve(items.size());
  persons.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const absl::StatusOr<bool> contains = ContainsFact(items[i].answer, items[i].value);
    if (!contains.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("fact item ", i, ": ", contains.status().message()));
    }
    scores.push_back(*contains ? 1 : 0);
    persons.push_back(items[i].person);
  }
  return MeanWithClusteredInterval(scores, persons, seed);
}

}  // namespace unlearn
