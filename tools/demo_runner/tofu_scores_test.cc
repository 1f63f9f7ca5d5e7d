#include "tools/demo_runner/tofu_scores.h"

#include <gtest/gtest.h>

#include <cmath>

namespace unlearn {
namespace {

v1::Item Sentence() {
  v1::Item item;
  item.set_question("q");
  item.set_answer("the red house");
  item.set_paraphrased_answer("a house that is red");
  item.add_perturbed_answer("a house that is blue");
  item.add_perturbed_answer("a house that is green");
  return item;
}

TEST(TofuScoresTest, SentenceHoldsWrongAnswersAgainstTheParaphrase) {
  EXPECT_EQ(ScoredCompletions(Sentence(), TofuKind::kSentence),
            (std::vector<std::string>{"the red house", "a house that is red",
                                      "a house that is blue", "a house that is green"}));
  TofuSetScores scores;
  // Average losses: 1, 0.5, 2 and 3.
  ASSERT_TRUE(AddScores(Sentence(), TofuKind::kSentence, "The house.",
                        {{0.5, 1.5}, {0.5}, {2, 2}, {3}}, scores)
                  .ok());
  EXPECT_NEAR(scores.rouge[0], 2.0 / 3, 1e-12);
  EXPECT_NEAR(scores.probability[0], std::exp(-1.0), 1e-12);
  EXPECT_NEAR(scores.truth_ratio[0], std::exp(-2.5) / std::exp(-0.5), 1e-12);
}

TEST(TofuScoresTest, ChoiceSharesProbabilityAmongAnswers) {
  v1::Item item = Sentence();
  item.clear_paraphrased_answer();
  EXPECT_EQ(ScoredCompletions(item, TofuKind::kChoice).size(), 3u);
  TofuSetScores scores;
  ASSERT_TRUE(AddScores(item, TofuKind::kChoice, "nothing", {{1}, {2}, {4, 2}}, scores).ok());
  const double right = std::exp(-1.0), first = std::exp(-2.0), second = std::exp(-3.0);
  EXPECT_NEAR(scores.probability[0], right / (right + first + second), 1e-12);
  EXPECT_NEAR(scores.truth_ratio[0], std::exp(-2.5) / right, 1e-12);
  EXPECT_EQ(scores.rouge[0], 0);
}

TEST(TofuScoresTest, AnotherNumberOfCompletionsIsAnError) {
  TofuSetScores scores;
  EXPECT_FALSE(AddScores(Sentence(), TofuKind::kSentence, "x", {{1}, {1}, {1}}, scores).ok());
  EXPECT_FALSE(AddScores(Sentence(), TofuKind::kSentence, "x", {{1}, {}, {1}, {1}}, scores).ok());
  EXPECT_TRUE(scores.rouge.empty());
}

TEST(SpreadTest, TakesEvenlyFromTheWholeList) {
  std::vector<v1::Item> items(10);
  for (int i = 0; i < 10; ++i) items[i].set_question(std::string(1, 'a' + i));
  const std::vector<v1::Item> three = Spread(items, 3);
  ASSERT_EQ(three.size(), 3u);
  EXPECT_EQ(three[0].question() + three[1].question() + three[2].question(), "adg");
  EXPECT_EQ(Spread(items, 10).size(), 10u);
}

}  // namespace
}  // namespace unlearn
