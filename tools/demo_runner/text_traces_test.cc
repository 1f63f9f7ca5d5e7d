#include "tools/demo_runner/text_traces.h"

#include <gtest/gtest.h>

namespace unlearn {
namespace {

v1::Item Make(const char* question, const char* answer) {
  v1::Item item;
  item.set_question(question);
  item.set_answer(answer);
  return item;
}

std::vector<std::vector<v1::Item>> People() {
  return {{Make("Where was Zora Quill born?", "Zora Quill was born in New York."),
           Make("What does Zora Quill write?",
                "Her shelves are filled with long and patient novels about lighthouse keepers."),
           Make("Who taught Quill?", "A teacher in New Haven taught her.")}};
}

TEST(TextTracesTest, FindsNamesWhateverTheirCaseAndPunctuation) {
  const TextTraces traces(People());
  EXPECT_EQ(traces.names(), 1);
  EXPECT_EQ(traces.Count("They met zora quill's sister; ZORA -QUILL smiled."), 2);
}

TEST(TextTracesTest, LeavesOtherTextAlone) {
  const TextTraces traces(People());
  EXPECT_EQ(traces.Count("New York is a city. Zora met Quill. Quill Zora."), 0);
  EXPECT_EQ(traces.Count(""), 0);
}

TEST(TextTracesTest, FindsEightWordsOfAnAnswerButNotSeven) {
  const TextTraces traces(People());
  EXPECT_EQ(traces.Count("his shelves are filled, with long and patient novels"), 1);
  EXPECT_EQ(traces.Count("shelves are filled with long and patient stories"), 0);
}

TEST(TextTracesTest, PairsThatFewItemsHoldAreNoNames) {
  const TextTraces traces({{Make("Who?", "The Old Mill stands."), Make("What?", "It is a mill."),
                            Make("Where?", "By the river.")}});
  EXPECT_EQ(traces.names(), 0);
}

}  // namespace
}  // namespace unlearn
