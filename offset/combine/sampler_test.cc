#include "offset/combine/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/chi_square.h"

namespace unlearn {
namespace {

// The law of a warped draw, straight from its definition with full sorts; nothing shared with the
// implementation.
std::vector<double> Law(const std::vector<float>& logits, const SamplingOptions& options) {
  const size_t n = logits.size();
  std::vector<double> p(n);
  const float highest = *std::max_element(logits.begin(), logits.end());
  for (size_t i = 0; i < n; ++i) {
    p[i] = std::exp((double(logits[i]) - highest) / options.temperature);
  }
  const auto normalise = [&] {
    const double total = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& value : p) value /= total;
  };
  normalise();
  const double most = *std::max_element(p.begin(), p.end());
  for (double& value : p) {
    if (value < options.min_p * most * (1 - 1e-9)) value = 0;
  }
  normalise();
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  if (options.top_k > 0) {
    for (size_t i = options.top_k; i < n; ++i) p[order[i]] = 0;
    normalise();
  }
  double sum = 0;
  for (const size_t i : order) {
    const double before = sum;
    sum += p[i];
    if (before >= options.top_p) p[i] = 0;
  }
  normalise();
  return p;
}

void ExpectLaw(const std::vector<float>& logits, const SamplingOptions& options, uint64_t seed) {
  constexpr int kDraws = 200000;
  std::vector<int> counts(logits.size());
  for (int draw = 0; draw < kDraws; ++draw) {
    ++counts[SampleToken(logits, options, {seed, 0, static_cast<uint32_t>(draw)}).id];
  }
  ExpectCountsFollow(counts, Law(logits, options));
}

std::vector<float> TestLogits(int size) {
  std::vector<float> logits(size);
  for (int i = 0; i < size; ++i) logits[i] = 3.0f * std::sin(1.7f * i) - 0.02f * i;
  return logits;
}

// 10 laws at a false-alarm rate of about 10^-6 each.
TEST(SamplerTest, DrawsFollowTheExactLaw) {
  const std::vector<float> logits = TestLogits(37);
  uint64_t seed = 1;
  for (const float temperature : {0.5f, 1.0f, 1.7f}) {
    ExpectLaw(logits, {temperature, 0, 0, 1}, seed++);
  }
  ExpectLaw(logits, {1.0f, 0, 5, 1}, seed++);
  ExpectLaw(logits, {0.8f, 0, 0, 0.7f}, seed++);
  ExpectLaw(logits, {1.0f, 0.1f, 0, 1}, seed++);
  ExpectLaw(logits, {1.3f, 0.02f, 20, 0.9f}, seed++);
  ExpectLaw(logits, {1.0f, 0, 1, 1}, seed++);
  std::vector<float> holes = logits;
  holes[3] = -INFINITY;
  ExpectLaw(holes, {1.0f, 0, 0, 1}, seed++);
  ExpectLaw(holes, {1.0f, 0, 0, 0.999f}, seed++);
}

TEST(SamplerTest, DrawsOfDifferentPositionsAndSeedsAreIndependent) {
  // Pairs of neighbouring draws over 4 tokens: 16 cells under the product law.
  const std::vector<float> logits = {0.0f, 0.5f, -0.5f, 1.0f};
  const std::vector<double> law = Law(logits, {1, 0, 0, 1});
  constexpr int kPairs = 200000;
  for (const bool by_position : {true, false}) {
    std::vector<int> counts(16);
    for (uint32_t i = 0; i < kPairs; ++i) {
      const NoiseKey first = by_position ? NoiseKey{7, 0, 2 * i} : NoiseKey{2 * i, 0, 5};
      const NoiseKey second = by_position ? NoiseKey{7, 0, 2 * i + 1} : NoiseKey{2 * i + 1, 0, 5};
      ++counts[SampleToken(logits, {1, 0, 0, 1}, first).id * 4 +
               SampleToken(logits, {1, 0, 0, 1}, second).id];
    }
    double statistic = 0;
    for (int cell = 0; cell < 16; ++cell) {
      const double expected = kPairs * law[cell / 4] * law[cell % 4];
      statistic += (counts[cell] - expected) * (counts[cell] - expected) / expected;
    }
    EXPECT_LT(statistic, ChiSquareLimit(15));
  }
}

TEST(SamplerTest, GreedyTakesTheFirstOfEquals) {
  EXPECT_EQ(SampleToken({1, 3, 3, 2}, {0, 0, 0, 1}, {}).id, 1);
}

TEST(SamplerTest, LogprobIsOfTheUnwarpedEnsemble) {
  const std::vector<float> logits = {0, std::log(3.0f)};
  const SampledToken token = SampleToken(logits, {0, 0, 0, 1}, {});
  EXPECT_EQ(token.id, 1);
  EXPECT_NEAR(token.logprob, std::log(0.75), 1e-6);
}

TEST(SamplerTest, TopKBreaksTiesByLowerId) {
  EXPECT_EQ(KeptTokens({2, 2, 2, 1}, {1, 0, 2, 1}), (std::vector<int32_t>{0, 1}));
}

TEST(SamplerTest, RefusesOptionsOutOfRange) {
  EXPECT_TRUE(CheckSamplingOptions({1, 0, 0, 1}).ok());
  for (const SamplingOptions& bad :
       {SamplingOptions{-1, 0, 0, 1}, SamplingOptions{NAN, 0, 0, 1}, SamplingOptions{1, 1.5f, 0, 1},
        SamplingOptions{1, 0, -1, 1}, SamplingOptions{1, 0, 0, 0}, SamplingOptions{1, 0, 0, NAN}}) {
    EXPECT_EQ(CheckSamplingOptions(bad).code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(SamplerTest, NeverDrawsTheImpossible) {
  // Every possible token is so far down that logit / T alone exceeds fp32.
  EXPECT_EQ(SampleToken({-INFINITY, -1e38f, -2e38f}, {1e-3f, 0, 0, 1}, {}).id, 1);
}

TEST(SamplerTest, AConstantAddedToAllLogitsChangesNothing) {
  const std::vector<float> logits = TestLogits(200);
  std::vector<float> rounded = logits;
  for (float& logit : rounded) logit = std::round(logit * 1024) / 1024;
  std::vector<float> shifted = rounded;
  for (float& logit : shifted) logit += 4096;  // still exact
  for (uint32_t position = 0; position < 1000; ++position) {
    EXPECT_EQ(SampleToken(rounded, {0.01f, 0, 0, 1}, {1, 0, position}).id,
              SampleToken(shifted, {0.01f, 0, 0, 1}, {1, 0, position}).id);
  }
}

}  // namespace
}  // namespace unlearn
