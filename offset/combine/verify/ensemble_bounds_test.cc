#include "offset/combine/verify/ensemble_bounds.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/verify/test_cases.h"

namespace unlearn {
namespace {

// Ratios, for all that is bounded has a free common factor: a ratio of two truths lies within the
// ratio of their bounds.
void ExpectRatio(Interval a, Interval b, double truth, const TestCase& test) {
  const Interval ratio = a / b;
  EXPECT_LE(ratio.lo, truth * (1 + 1e-9) + 1e-300) << test;
  EXPECT_GE(ratio.hi, truth * (1 - 1e-9)) << test;
}

TEST(EnsembleBoundsTest, BoundsContainEveryLawThatIsPossible) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 40000; ++i) {
    const TestCase test = RandomCase(random);
    const double temperature = i % 2 == 0 ? 1.0 : i % 4 == 1 ? 0.3f : 1.7f;
    const EnsembleBounds bounds(test.model_knowledge, test.pair(), temperature);
    const auto& tokens = bounds.tokens();
    for (int other = 0; other < 3; ++other) {
      const Rows rows = other == 0 ? test.rows : test.Alternative(random);
      if (rows.model.empty()) continue;
      const std::vector<double> model = LogSoftmax(rows.model, temperature);
      const std::vector<double> ensemble = LogSoftmax(rows.ensemble, temperature);
      const int32_t first = test.model_knowledge.ids()[0];
      double unknown_reference = 0;
      double unknown_weight = 0;
      for (int32_t id = 0; id < model.size(); ++id) {
        const int at = test.model_knowledge.IndexOf(id);
        if (at < 0) {
          unknown_reference += std::exp(model[id] - model[first]);
          unknown_weight += std::exp(ensemble[id] - ensemble[first]);
          EXPECT_LE(ensemble[id] - ensemble[first],
                    bounds.unknown_score() - tokens[0].score.lo + 1e-9)
              << test;
          continue;
        }
        ExpectRatio(tokens[at].reference, tokens[0].reference, std::exp(model[id] - model[first]),
                    test);
        ExpectRatio(tokens[at].weight, tokens[0].weight, std::exp(ensemble[id] - ensemble[first]),
                    test);
        const double gain = (static_cast<double>(rows.ensemble[id]) - rows.model[id]) -
                            (static_cast<double>(rows.ensemble[first]) - rows.model[first]);
        ExpectRatio(tokens[at].gain, tokens[0].gain, std::exp(gain / temperature), test);
        EXPECT_LE(tokens[at].gain.hi, 1);
        EXPECT_LE(tokens[at].weight.hi, 1);
      }
      ExpectRatio(bounds.unknown_reference(), tokens[0].reference, unknown_reference, test);
      ExpectRatio(bounds.unknown_weight(), tokens[0].weight, unknown_weight, test);
    }
  }
}

TEST(EnsembleBoundsTest, LogprobContainsTheEnsemblesOwn) {
  std::mt19937_64 random(12);
  double narrowest = INFINITY;
  for (int i = 0; i < 30000; ++i) {
    const TestCase test = RandomCase(random);
    const EnsembleBounds bounds(test.model_knowledge, test.pair(), 1);
    for (int other = 0; other < 3; ++other) {
      const Rows rows = other == 0 ? test.rows : test.Alternative(random);
      if (rows.model.empty()) continue;
      const std::vector<double> law = LogSoftmax(rows.ensemble, 1);
      for (int at = 0; at < bounds.tokens().size(); ++at) {
        const Interval logprob = bounds.Logprob(at);
        const double truth = law[test.model_knowledge.ids()[at]];
        EXPECT_LE(logprob.lo, truth + 1e-9) << test;
        EXPECT_GE(logprob.hi, truth - 1e-9) << test;
        EXPECT_LE(logprob.hi, 0);
        narrowest = std::min(narrowest, logprob.Width());
      }
    }
  }
  EXPECT_LT(narrowest, 1e-4);
}

TEST(EnsembleBoundsTest, ADeltaOfZerosGainsExactlyNothing) {
  std::mt19937_64 random(13);
  for (int i = 0; i < 2000; ++i) {
    TestCase test = RandomCase(random);
    std::fill(test.rows.delta.begin(), test.rows.delta.end(), 0.0f);
    test.Ask(test.question);
    const EnsembleBounds bounds(test.model_knowledge, test.pair(), 0.3f);
    for (const EnsembleBounds::Token& token : bounds.tokens()) {
      EXPECT_EQ(token.gain.lo, 1);
      EXPECT_EQ(token.gain.hi, 1);
    }
  }
}

TEST(EnsembleBoundsTest, ExtremeTemperaturesAndEffectsDoNotOverflow) {
  TestCase test;
  test.rows.model = {3, 2, -80, 0, 1};
  test.rows.delta = {-100, 100, 50, 0, 90};
  test.alpha = 4;
  test.Combine();
  test.Ask({3, 1e-6, 1, -1});
  for (const double temperature : {1e-3, 0.05, 1.0, 100.0}) {
    const EnsembleBounds bounds(test.model_knowledge, test.pair(), temperature);
    for (const EnsembleBounds::Token& token : bounds.tokens()) {
      for (const Interval x : {token.reference, token.gain, token.weight}) {
        EXPECT_TRUE(std::isfinite(x.lo) && std::isfinite(x.hi)) << temperature;
      }
    }
    EXPECT_TRUE(std::isfinite(bounds.unknown_weight().hi));
  }
}

}  // namespace
}  // namespace unlearn
