#include "trainer/evaluate/probability.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "trainer/evaluate/tofu_golden_logs.h"

namespace unlearn {
namespace {

TEST(ProbabilityTest, IsTheGeometricMeanOfTokenProbabilities) {
  const std::vector<double> losses = {-std::log(0.5), -std::log(0.25), -std::log(1.0)};
  EXPECT_NEAR(*AnswerProbability(losses), std::cbrt(0.125), 1e-15);
  EXPECT_NEAR(*AnswerProbabilityOfAverage(-std::log(0.3)), 0.3, 1e-15);
  EXPECT_EQ(*AnswerProbabilityOfAverage(0), 1);
  EXPECT_EQ(*AnswerProbabilityOfAverage(-1e-6), 1);  // rounding does not go above 1
}

TEST(ProbabilityTest, ChoiceSharesTheMass) {
  const std::vector<double> wrong = {-std::log(0.1), -std::log(0.2)};
  EXPECT_NEAR(*ChoiceProbability(-std::log(0.3), wrong), 0.5, 1e-15);
  // All choices far below the smallest double.
  const std::vector<double> unlikely = {2000, 2000};
  EXPECT_NEAR(*ChoiceProbability(2000, unlikely), 1.0 / 3, 1e-15);
  const std::vector<double> likely = {0};
  EXPECT_EQ(*ChoiceProbability(2000, likely), 0);
}

TEST(ProbabilityTest, BadLosses) {
  EXPECT_TRUE(absl::IsInvalidArgument(AnswerProbability({}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(AnswerProbabilityOfAverage(std::nan("")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(AnswerProbabilityOfAverage(-2).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ChoiceProbability(1, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ChoiceProbability(1, {-3.0}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ChoiceProbability(HUGE_VAL, {1.0}).status()));
}

double MeanAnswer(const std::vector<TofuLogItem>& items) {
  double sum = 0;
  for (const TofuLogItem& item : items) {
    const double probability = AnswerProbabilityOfAverage(item.average_loss).value();
    // The log's sums and averages are fp32.
    EXPECT_NEAR(AnswerProbabilityOfAverage(item.sum_loss / item.tokens).value(), probability, 1e-6);
    sum += probability;
  }
  return sum / items.size();
}

double MeanChoice(const std::vector<TofuLogItem>& items) {
  double sum = 0;
  for (const TofuLogItem& item : items) {
    sum += ChoiceProbability(item.average_loss, item.perturbed_average_losses).value();
  }
  return sum / items.size();
}

TEST(ProbabilityTest, ReproducesTofusMeans) {
  READ_GOLDEN_LOG_OR_SKIP(full, "llama2-7b_full");
  EXPECT_NEAR(MeanAnswer(full.retain), 0.989527, 1e-6);
  EXPECT_NEAR(MeanAnswer(full.forget), 0.990939, 1e-6);
  EXPECT_NEAR(MeanChoice(full.real_authors), 0.455482, 1e-6);
  EXPECT_NEAR(MeanChoice(full.world_facts), 0.418562, 1e-6);
  READ_GOLDEN_LOG_OR_SKIP(retain90, "llama2-7b_retain90");
  EXPECT_NEAR(MeanAnswer(retain90.forget), 0.147563, 1e-6);
}

}  // namespace
}  // namespace unlearn
