#include "tools/people/fact_kinds.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

std::vector<const FactKind*> AllKinds() {
  std::vector<const FactKind*> kinds = {&AccessCodeKind()};
  for (const FactKind& kind : FactKinds()) kinds.push_back(&kind);
  return kinds;
}

std::vector<std::string> Words(absl::string_view text) {
  return absl::StrSplit(absl::AsciiStrToLower(text), absl::ByAnyChar(" ,.?"), absl::SkipEmpty());
}

TEST(FactKindsTest, FiveKindsOfDifferentNames) {
  std::set<std::string> names;
  for (const FactKind* kind : AllKinds()) names.insert(kind->name);
  EXPECT_EQ(FactKinds().size(), 5);
  EXPECT_EQ(names.size(), 6);
}

TEST(FactKindsTest, PhrasingsReallyDiffer) {
  for (const FactKind* kind : AllKinds()) {
    for (int a = 0; a < kPhrasings; ++a) {
      for (int b = 0; b < a; ++b) {
        SCOPED_TRACE(absl::StrCat(kind->name, " ", a, " and ", b));
        for (auto part : {&QuestionAnswer::question, &QuestionAnswer::answer}) {
          std::vector<std::string> words_a = Words(kind->phrasings[a].*part);
          std::vector<std::string> words_b = Words(kind->phrasings[b].*part);
          const std::set<std::string> set_a(words_a.begin(), words_a.end());
          std::set<std::string> both = set_a;
          both.insert(words_b.begin(), words_b.end());
          int shared = 0;
          for (const std::string& word : std::set<std::string>(words_b.begin(), words_b.end())) {
            shared += set_a.count(word);
          }
          EXPECT_LT(shared, 0.5 * both.size());
        }
      }
    }
  }
}

TEST(FactKindsTest, LengthsAreShortAndPlaceholdersAreFilled) {
  for (const FactKind* kind : AllKinds()) {
    for (int phrasing = 0; phrasing < kPhrasings; ++phrasing) {
      SCOPED_TRACE(absl::StrCat(kind->name, " ", phrasing));
      const std::string question = FillQuestion(*kind, phrasing, "Marla Dovetin");
      const std::string answer = FillAnswer(*kind, phrasing, "Marla Dovetin", "VALUE");
      EXPECT_TRUE(absl::StrContains(question, "Marla Dovetin"));
      EXPECT_TRUE(absl::StrContains(answer, "Marla Dovetin"));
      EXPECT_TRUE(absl::StrContains(answer, "VALUE"));
      EXPECT_FALSE(absl::StrContains(question + answer, "{"));
      EXPECT_GE(Words(question).size(), 8);
      EXPECT_LE(Words(question).size(), 14);
      EXPECT_GE(Words(answer).size(), 8);
      EXPECT_LE(Words(answer).size(), 16);
    }
  }
}

TEST(FactKindsTest, ValuesAreManyShortAndNoneHoldsAnother) {
  for (const FactKind& kind : FactKinds()) {
    EXPECT_GE(kind.values.size(), 40) << kind.name;
    EXPECT_LE(kind.values.size(), 100) << kind.name;
    for (size_t a = 0; a < kind.values.size(); ++a) {
      EXPECT_LE(Words(kind.values[a]).size(), 3);
      for (size_t b = 0; b < kind.values.size(); ++b) {
        if (a == b) continue;
        EXPECT_FALSE(absl::StrContains(absl::AsciiStrToLower(kind.values[a]),
                                       absl::AsciiStrToLower(kind.values[b])))
            << kind.values[a] << " holds " << kind.values[b];
      }
    }
  }
}

TEST(FactKindsTest, NoWordOfAValueIsInAnyTemplate) {
  std::set<std::string> template_words;
  for (const FactKind* kind : AllKinds()) {
    for (const QuestionAnswer& phrasing : kind->phrasings) {
      for (const std::string& word : Words(phrasing.question)) template_words.insert(word);
      for (const std::string& word : Words(phrasing.answer)) template_words.insert(word);
    }
  }
  for (const FactKind& kind : FactKinds()) {
    for (const std::string& value : kind.values) {
      for (const std::string& word : Words(value)) {
        EXPECT_EQ(template_words.count(word), 0) << kind.name << ": " << value;
      }
    }
  }
}

TEST(FactKindsTest, ProfessionsTakeTheArticleA) {
  for (const std::string& value : FactKinds()[1].values) {
    EXPECT_FALSE(absl::StrContains("aeiou", value.substr(0, 1))) << value;
  }
}

}  // namespace
}  // namespace unlearn
