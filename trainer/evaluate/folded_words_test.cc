#include "trainer/evaluate/folded_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace unlearn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(FoldedWordsTest, CaseSpaceAndPunctuation) {
  EXPECT_THAT(FoldedWords(" She\tlives in\n\"OSLO\". ", Symbols::kKeep),
              ElementsAre("she", "lives", "in", "oslo"));
  EXPECT_THAT(FoldedWords("Oslo-based O'Brien", Symbols::kKeep),
              ElementsAre("oslo", "based", "o", "brien"));
  EXPECT_THAT(FoldedWords(" .,;\xC2\xA0\xE2\x80\xA6 ", Symbols::kKeep), IsEmpty());
}

TEST(FoldedWordsTest, SpellingsOfOneWordAreEqual) {
  const auto folded = FoldedWords("\xC3\x98rsted caf\xC3\xA9", Symbols::kKeep);
  EXPECT_THAT(folded, ElementsAre("\xC3\xB8rsted", "caf\xC3\xA9"));
  EXPECT_EQ(FoldedWords("\xC3\xB8RSTED CAFE\xCC\x81", Symbols::kKeep), folded);  // decomposed
  EXPECT_THAT(FoldedWords("\xEF\xBC\xAF\xEF\xBD\x93lo", Symbols::kKeep), ElementsAre("oslo"));
  EXPECT_THAT(FoldedWords("Os\xC2\xADlo", Symbols::kKeep), ElementsAre("oslo"));  // soft hyphen
  EXPECT_THAT(FoldedWords("Stra\xC3\x9F"
                          "e",
                          Symbols::kKeep),
              ElementsAre("strasse"));
}

TEST(FoldedWordsTest, Numbers) {
  EXPECT_THAT(FoldedWords("1.5, 1,200 and 1,200,000.", Symbols::kKeep),
              ElementsAre("1.5", "1,200", "and", "1,200,000"));
  EXPECT_THAT(FoldedWords("12.05.1990", Symbols::kKeep), ElementsAre("12", "05", "1990"));
  EXPECT_THAT(FoldedWords("in 1990.", Symbols::kKeep), ElementsAre("in", "1990"));
  EXPECT_THAT(FoldedWords("3.", Symbols::kKeep), ElementsAre("3"));
  EXPECT_THAT(FoldedWords("v1.5b", Symbols::kKeep), ElementsAre("v1.5b"));
}

TEST(FoldedWordsTest, Symbols) {
  EXPECT_THAT(FoldedWords("C++ $5 50%", Symbols::kKeep),
              ElementsAre("c", "+", "+", "$", "5", "50", "%"));
  EXPECT_THAT(FoldedWords("C++ $5 50%", Symbols::kDrop), ElementsAre("c", "5", "50"));
}

TEST(FoldedWordsTest, ScriptsWithoutSpaces) {
  EXPECT_THAT(FoldedWords("\xE6\x9D\xB1\xE4\xBA\xAC\xE3\x81\xAB", Symbols::kKeep),
              ElementsAre("\xE6\x9D\xB1", "\xE4\xBA\xAC", "\xE3\x81\xAB"));
}

TEST(FoldedWordsTest, BytesThatAreNotUtf8) {
  EXPECT_THAT(FoldedWords("\xC3\x98rsted \xC3", Symbols::kDrop), ElementsAre("\xC3\xB8rsted"));
  EXPECT_THAT(FoldedWords("\xFF", Symbols::kKeep), ElementsAre("\xEF\xBF\xBD"));
  EXPECT_THAT(FoldedWords(std::string("a\0b", 3), Symbols::kKeep), ElementsAre("a", "b"));
}

}  // namespace
}  // namespace unlearn
