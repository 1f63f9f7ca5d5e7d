#include "proxy/upstream/draw_evidence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace unlearn {
namespace {

constexpr int kVocabulary = 200;
const double kLimit = std::log(1e6);

// Probabilities of another law for each seed, most likely first.
std::vector<double> Law(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0, 2);
  std::vector<double> law(kVocabulary);
  double sum = 0;
  for (double& p : law) sum += p = std::exp(normal(random));
  for (double& p : law) p /= sum;
  std::sort(law.rbegin(), law.rend());
  return law;
}

std::vector<double> Sharpened(std::vector<double> law, double temperature) {
  for (double& p : law) p = std::pow(p, 1 / temperature);
  return law;
}

// Evidence after tokens drawn from other weights than those of the law that is told, `top` of it.
template <typename Drawn>
DrawEvidence After(int draws, double temperature, int top, Drawn drawn) {
  std::mt19937 random(7);
  DrawEvidence evidence(temperature);
  for (int i = 0; i < draws; ++i) {
    const std::vector<double> law = Law(i);
    const std::vector<double> weights = drawn(law);
    std::discrete_distribution<int> draw(weights.begin(), weights.end());
    SampledRow row;
    row.id = draw(random);
    for (int v = 0; v < top; ++v) {
      row.top.ids.push_back(v);
      row.top.logprobs.push_back(std::log(law[v]));
    }
    evidence.Add(row, std::uniform_real_distribution<double>()(random));
  }
  return evidence;
}

TEST(DrawEvidenceTest, DrawsFromTheLawAreNoEvidence) {
  const auto law = [](const std::vector<double>& law) { return law; };
  EXPECT_EQ(DrawEvidence(1).Log(), 0);
  for (const int draws : {1, 100, 5000}) {
    EXPECT_LT(After(draws, 1, kVocabulary, law).Log(), kLimit);
    EXPECT_LT(After(draws, 1, 20, law).Log(), kLimit) << "the rest is not told";
  }
  const auto cold = [](const std::vector<double>& law) { return Sharpened(law, 0.25); };
  EXPECT_LT(After(5000, 0.25, kVocabulary, cold).Log(), kLimit);
  const DrawEvidence evidence = After(5000, 0.25, 20, cold);
  EXPECT_LT(evidence.Log(), kLimit);
  EXPECT_GT(evidence.draws(), 2500);
}

TEST(DrawEvidenceTest, ItIsAFairGame) {
  // The mean of what a gambler makes is 1: over all ways in which one, two and three places can
  // fall, each with its probability.
  const double cells[] = {0.25, 0.25, 0.25, 0.1, 0.1, 0.05};
  double mean = 0;
  for (int first = 0; first < 6; ++first) {
    for (int second = 0; second < 6; ++second) {
      for (int third = 0; third < 6; ++third) {
        DrawEvidence evidence(1);
        for (const int cell : {first, second, third}) {
          double begin = 0;
          for (int i = 0; i < cell; ++i) begin += cells[i];
          // One token that is sure: its place is the random number.
          evidence.Add({0, 0, {{0}, {0}}}, begin + cells[cell] / 2);
        }
        mean += cells[first] * cells[second] * cells[third] * std::exp(evidence.Log());
      }
    }
  }
  EXPECT_NEAR(mean, 1, 1e-9);
}

TEST(DrawEvidenceTest, OtherLawsAreFound) {
  const auto nucleus = [](double top_p) {
    return [top_p](std::vector<double> law) {
      double sum = 0;
      for (double& p : law) {
        const bool kept = sum < top_p;
        sum += p;
        if (!kept) p = 0;
      }
      return law;
    };
  };
  const auto heated = [](double temperature) {
    return [temperature](const std::vector<double>& law) { return Sharpened(law, temperature); };
  };
  // The probe's numbers of draws.
  EXPECT_GT(After(576, 1, kVocabulary, nucleus(0.9)).Log(), kLimit);
  EXPECT_GT(After(576, 1, kVocabulary, nucleus(0.95)).Log(), kLimit);
  EXPECT_GT(After(576, 1, kVocabulary, heated(0.7)).Log(), kLimit);
  EXPECT_GT(After(576, 1, kVocabulary, heated(1.4)).Log(), kLimit);
  EXPECT_GT(After(576, 1, 20, heated(0.6)).Log(), kLimit);
  // A temperature that is not heeded.
  EXPECT_GT(After(100, 0.25, kVocabulary, heated(1)).Log(), kLimit);
  EXPECT_GT(After(100, 0.25, 50, heated(1)).Log(), kLimit);
  EXPECT_GT(After(100, 1, kVocabulary, heated(0.25)).Log(), kLimit);
  // The most likely token every time.
  EXPECT_GT(After(100, 1, kVocabulary, heated(0.01)).Log(), kLimit);
}

TEST(DrawEvidenceTest, BelowTemperature1OnlyWhatWasToldCounts) {
  DrawEvidence evidence(0.25);
  const TopRow two = {{0, 1}, {std::log(0.5), std::log(0.25)}};
  evidence.Add({9, -5, two}, 0.5);
  EXPECT_EQ(evidence.draws(), 0);
  EXPECT_NEAR(evidence.known(), 0.75, 1e-9);
  evidence.Add({0, -1, {{0}, {std::log(0.5)}}}, 0.5);
  EXPECT_EQ(evidence.draws(), 0) << "of one token there is nothing to see";
  evidence.Add({1, -2, two}, 0.5);
  EXPECT_EQ(evidence.draws(), 1);
}

}  // namespace
}  // namespace unlearn
