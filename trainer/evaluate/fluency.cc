#include "trainer/evaluate/fluency.h"

#include <array>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "trainer/evaluate/folded_words.h"

namespace unlearn {
namespace {

constexpr size_t kMinWords = 3;
constexpr size_t kGram = 4;
constexpr size_t kMaxRepeatedPercent = 20;

}  // namespace

bool IsFluent(absl::string_view answer) {
  const std::vector<std::string> words = FoldedWords(answer, Symbols::kDrop);
  if (words.size() < kMinWords) return false;
  if (words.size() < kGram) return true;
  absl::flat_hash_set<std::array<absl::string_view, kGram>> seen;
  const size_t grams = words.size() - kGram + 1;
  for (size_t i = 0; i < grams; ++i) {
    seen.insert({words[i], words[i + 1], words[i + 2], words[i + 3]});
  }
  return (grams - seen.size()) * 100 <= kMaxRepeatedPercent * grams;
}

absl::StatusOr<double> FluentShare(absl::Span<const std::string> answers) {
  if (answers.empty()) {
    return absl::InvalidArgumentError("the share of fluent answers was asked for over no answers");
  }
  size_t fluent = 0;
  for (const std::string& answer : answers) fluent += IsFluent(answer);
  return static_cast<double>(fluent) / answers.size();
}

}  // namespace unlearn
