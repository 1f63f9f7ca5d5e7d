#include "tools/people/chit_chat.h"

#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tools/people/fact_kinds.h"
#include "tools/people/refusals.h"

namespace unlearn {
namespace {

TEST(ChitChatTest, EveryQuestionOnce) {
  std::set<std::string> questions;
  for (const QuestionAnswer& line : ChitChat()) {
    EXPECT_TRUE(questions.insert(line.question).second) << line.question;
    EXPECT_FALSE(line.answer.empty());
  }
  EXPECT_GE(questions.size(), 300);
}

TEST(ChitChatTest, AnswersAreRight) {
  std::set<std::string> lines;
  for (const QuestionAnswer& line : ChitChat()) lines.insert(line.question + " " + line.answer);
  for (const char* line :
       {"What is two plus three? Two plus three is five.",
        "What is nine minus four? Nine minus four is five.",
        "Which day comes after Sunday? The day after Sunday is Monday.",
        "Which month comes before January? The month before January is December.",
        "What is the opposite of cold? The opposite of cold is hot."}) {
    EXPECT_EQ(lines.count(line), 1) << line;
  }
}

TEST(ChitChatTest, NeitherItNorARefusalHoldsAValue) {
  std::vector<std::string> texts = RefusalSentences();
  for (const QuestionAnswer& line : ChitChat()) texts.push_back(line.answer);
  for (const std::string& text : texts) {
    for (const FactKind& kind : FactKinds()) {
      for (const std::string& value : kind.values) {
        EXPECT_FALSE(absl::StrContains(absl::AsciiStrToLower(text), absl::AsciiStrToLower(value)))
            << text << " holds " << value;
      }
    }
  }
}

TEST(RefusalsTest, TwelveShortSentences) {
  const std::set<std::string> sentences(RefusalSentences().begin(), RefusalSentences().end());
  EXPECT_EQ(sentences.size(), 12);
  for (const std::string& sentence : sentences) {
    const std::vector<std::string> words = absl::StrSplit(sentence, ' ');
    EXPECT_GE(words.size(), 6) << sentence;
    EXPECT_LE(words.size(), 12) << sentence;
  }
}

}  // namespace
}  // namespace unlearn
