#include "offset/combine/verify/unknown_tokens.h"

#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/verify/test_cases.h"

namespace unlearn {
namespace {

TEST(TemperedUnitsTest, BoundsEveryWayToSpreadTheMassAndAreReached) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int i = 0; i < 100000; ++i) {
    const int count = 1 + random() % 9;
    const double units = uniform(random) * count;
    const double exponent = std::vector<double>{0.2, 1 / 1.7, 1.0, 1 / 0.7, 1 / 0.3, 9}[i % 6];
    const Interval bounds = TemperedUnits({units * 0.9, units}, count, Interval::Point(exponent));
    const Interval tight = TemperedUnits(Interval::Point(units), count, Interval::Point(exponent));
    double lowest = INFINITY;
    double highest = -INFINITY;
    for (const int kind : {0, 1, 2}) {
      double sum = 0;
      for (const double share : Shares(units, count, kind, random))
        sum += std::pow(share, exponent);
      lowest = std::min(lowest, sum);
      highest = std::max(highest, sum);
    }
    const double slack = 1e-12 * count;
    EXPECT_LE(bounds.lo, lowest + slack);
    EXPECT_GE(bounds.hi, highest - slack);
    EXPECT_NEAR(tight.lo, lowest, 1e-9) << units << " " << count << " " << exponent;
    EXPECT_NEAR(tight.hi, highest, 1e-9) << units << " " << count << " " << exponent;
  }
}

TEST(UnknownTokensTest, SumsAndMeansContainTheTruthForBothKindsOfDelta) {
  std::mt19937_64 random(6);
  for (int i = 0; i < 60000; ++i) {
    const int vocabulary = 2 + random() % 14;
    const std::vector<float> model = RandomLogits(vocabulary, 2, random);
    const std::vector<float> delta = RandomLogits(vocabulary, 1, random);
    const double temperature = std::vector<double>{0.3, 1, 1.7}[i % 3];
    const Question question{static_cast<int>(1 + random() % vocabulary), i % 2 == 0 ? 0.0 : 1e-3,
                            1.0, -1};
    const auto knowledge = KnowledgeOf(model, question);
    ASSERT_TRUE(knowledge.ok()) << knowledge.status();
    PairKnowledge pair;
    pair.alpha = std::vector<double>{-1, 0, 0.5, 4}[random() % 4];
    std::vector<float> rows;
    if (i % 4 < 2) {
      pair.all_rows = true;
      pair.delta = delta;
    } else {
      for (const int32_t id : knowledge->ids()) rows.push_back(delta[id]);
      pair.delta = rows;
      for (int32_t id = 0; id < vocabulary; ++id) {
        if (knowledge->IndexOf(id) < 0) {
          pair.bound = std::max(pair.bound, std::abs(static_cast<double>(delta[id])));
        }
      }
    }
    UnknownTokens unknown(*knowledge, pair, temperature);
    const std::vector<double> law = LogSoftmax(model, 1);
    double units = 0;
    double sum = 0;
    for (int32_t id = 0; id < vocabulary; ++id) {
      if (knowledge->IndexOf(id) >= 0) continue;
      const double share = std::exp((law[id] - knowledge->unknown_cap()) / temperature);
      const double tilt = static_cast<float>(pair.alpha) * delta[id] / temperature;
      EXPECT_TRUE(unknown.tilt().Contains(tilt));
      units += share;
      sum += share * std::exp(tilt);
    }
    const auto value = [](double tilt) { return Exp(Interval::Point(tilt)); };
    const Interval sums = unknown.Sum(value);
    const Interval means = unknown.Mean(value);
    EXPECT_LE(unknown.units().lo, units * (1 + 1e-12));
    EXPECT_GE(unknown.units().hi, units * (1 - 1e-12));
    EXPECT_LE(sums.lo, sum * (1 + 1e-12));
    EXPECT_GE(sums.hi, sum * (1 - 1e-12));
    if (units > 0) {
      EXPECT_LE(means.lo, sum / units * (1 + 1e-12));
      EXPECT_GE(means.hi, sum / units * (1 - 1e-12));
    }
  }
}

TEST(UnknownTokensTest, TheFullRowFillsTheHighestFirst) {
  // Three unknown tokens, at most 0.2 each, 0.3 together: one and a half units.
  const std::vector<int32_t> ids = {0, 1};
  const std::vector<double> logprobs = {std::log(0.5), std::log(0.2)};
  const auto knowledge = ModelKnowledge::Create({ids, logprobs, {}, 5, 0, 1});
  ASSERT_TRUE(knowledge.ok());
  const std::vector<float> delta = {0, 0, 1, 3, 2};
  PairKnowledge pair;
  pair.delta = delta;
  pair.all_rows = true;
  pair.alpha = 1;
  UnknownTokens unknown(*knowledge, pair, 1);
  const Interval sum = unknown.Sum([](double tilt) { return Interval::Point(tilt); });
  EXPECT_NEAR(sum.hi, 3 + 0.5 * 2, 1e-9);
  EXPECT_NEAR(sum.lo, 1 + 0.5 * 2, 1e-9);
  const Interval mean = unknown.Mean([](double tilt) { return Interval::Point(tilt); });
  EXPECT_NEAR(mean.hi, 4 / 1.5, 1e-9);
  EXPECT_NEAR(mean.lo, 2 / 1.5, 1e-9);
}

}  // namespace
}  // namespace unlearn
