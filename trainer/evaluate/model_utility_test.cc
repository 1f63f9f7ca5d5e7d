#include "trainer/evaluate/model_utility.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "trainer/evaluate/probability.h"
#include "trainer/evaluate/rouge.h"
#include "trainer/evaluate/tofu_golden_logs.h"
#include "trainer/evaluate/truth_ratio.h"

namespace unlearn {
namespace {

using ::testing::HasSubstr;

TEST(ModelUtilityTest, HarmonicMean) {
  EXPECT_NEAR(*HarmonicMean({1.0, 0.5, 0.25}), 3.0 / 7, 1e-15);
  EXPECT_EQ(*HarmonicMean({1.0, 0.0}), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(HarmonicMean({}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(HarmonicMean({-1.0}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(HarmonicMean({1.0, std::nan("")}).status()));
  // A zero does not excuse a NaN.
  EXPECT_TRUE(absl::IsInvalidArgument(HarmonicMean({0.0, std::nan("")}).status()));
}

TEST(ModelUtilityTest, ZeroInZeroOut) {
  EXPECT_EQ(*ModelUtility({1, 1, 1}, {1, 0, 1}, {1, 1, 1}), 0);
  EXPECT_DOUBLE_EQ(*ModelUtility({1, 1, 1}, {1, 1, 1}, {1, 1, 1}), 1);
}

TEST(ModelUtilityTest, NamesTheBadNumber) {
  const absl::Status status = ModelUtility({1, 1, 1}, {1, 1, 1.5}, {1, 1, 1}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("truth ratio of the real authors set"));
  EXPECT_FALSE(ModelUtility({std::nan(""), 1, 1}, {1, 1, 1}, {1, 1, 1}).ok());
}

enum class Kind { kAnswer, kChoice };

// All three numbers from texts and losses alone, by the functions that evaluation uses.
TofuScores ScoresOf(const std::vector<TofuLogItem>& items, Kind kind, bool forget) {
  TofuScores scores;
  std::vector<double> ratios;
  for (const TofuLogItem& item : items) {
    scores.rouge += RougeL(item.expected, item.generated).recall / items.size();
    scores.probability += (kind == Kind::kAnswer ? AnswerProbabilityOfAverage(item.average_loss)
                                                 : ChoiceProbability(item.average_loss,
                                                                     item.perturbed_average_losses))
                              .value() /
                          items.size();
    ratios.push_back(
        TruthRatio(item.paraphrased_average_loss, item.perturbed_average_losses).value());
  }
  scores.truth_ratio = (forget ? ForgetTruthRatio(ratios) : RetainTruthRatio(ratios)).value();
  return scores;
}

void ExpectScores(const TofuScores& scores, double rouge, double probability, double truth_ratio) {
  EXPECT_NEAR(scores.rouge, rouge, 1e-6);
  EXPECT_NEAR(scores.probability, probability, 1e-6);
  EXPECT_NEAR(scores.truth_ratio, truth_ratio, 1e-6);
}

double ModelUtilityOf(const TofuLog& log) {
  return ModelUtility(ScoresOf(log.retain, Kind::kAnswer, false),
                      ScoresOf(log.real_authors, Kind::kChoice, false),
                      ScoresOf(log.world_facts, Kind::kChoice, false))
      .value();
}

TEST(ModelUtilityTest, ReproducesTofusNumbersOfTheFullModel) {
  READ_GOLDEN_LOG_OR_SKIP(full, "llama2-7b_full");
  ExpectScores(ScoresOf(full.retain, Kind::kAnswer, false), .985655, .989527, .474699);
  ExpectScores(ScoresOf(full.real_authors, Kind::kChoice, false), .933, .455482, .596229);
  ExpectScores(ScoresOf(full.world_facts, Kind::kChoice, false), .882479, .418562, .539033);
  ExpectScores(ScoresOf(full.forget, Kind::kAnswer, true), .985450, .990939, .515985);
  EXPECT_NEAR(ModelUtilityOf(full), 0.622677, 1e-6);
}

TEST(ModelUtilityTest, ReproducesTofusNumbersOfTheRetainModel) {
  READ_GOLDEN_LOG_OR_SKIP(retain90, "llama2-7b_retain90");
  EXPECT_NEAR(ModelUtilityOf(retain90), 0.613745, 1e-6);
  const TofuScores forget = ScoresOf(retain90.forget, Kind::kAnswer, true);
  EXPECT_NEAR(forget.rouge, 0.408, 5e-4);
  EXPECT_NEAR(forget.probability, 0.148, 5e-4);
}

std::vector<double> TruthRatios(const std::vector<TofuLogItem>& items) {
  std::vector<double> ratios;
  for (const TofuLogItem& item : items) {
    ratios.push_back(
        TruthRatio(item.paraphrased_average_loss, item.perturbed_average_losses).value());
  }
  return ratios;
}

TEST(ModelUtilityTest, ReproducesForgetQualityOfForget10) {
  READ_GOLDEN_LOG_OR_SKIP(full, "llama2-7b_full");
  READ_GOLDEN_LOG_OR_SKIP(retain90, "llama2-7b_retain90");
  const KsTestResult result =
      *ForgetQuality(TruthRatios(full.forget), TruthRatios(retain90.forget));
  EXPECT_NEAR(result.statistic, 0.396667, 1e-6);
  EXPECT_NEAR(result.p_value / 1.834066410994743e-21, 1, 1e-9);
}

}  // namespace
}  // namespace unlearn
