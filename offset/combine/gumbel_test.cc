#include "offset/combine/gumbel.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/chi_square.h"
#include "offset/combine/philox.h"

namespace unlearn {
namespace {

constexpr int kDraws = 1000000;

// exp(-exp(-g)): uniform on (0, 1) if g is standard Gumbel noise.
double Uniform(double noise) { return std::exp(-std::exp(-noise)); }

int Cell(double uniform, int cells) {
  return std::min(cells - 1, static_cast<int>(uniform * cells));
}

// Kolmogorov's limit for a false alarm in 10^6: P(sqrt(n) D > x) = 2 exp(-2 x^2).
void ExpectUniform(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const double n = static_cast<double>(values.size());
  double distance = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    distance = std::max({distance, values[i] - i / n, (i + 1) / n - values[i]});
  }
  EXPECT_LT(distance * std::sqrt(n), std::sqrt(std::log(2e6) / 2));
}

TEST(GumbelTest, IsStandardGumbelNoise) {
  for (const int32_t token : {0, 63, 64, 151935}) {
    std::vector<double> uniform;
    for (uint32_t i = 0; i < kDraws; ++i) uniform.push_back(Uniform(GumbelNoise({3, 0, i}, token)));
    ExpectUniform(std::move(uniform));
  }
}

TEST(GumbelTest, IsStandardGumbelNoiseOverTheTokensOfOneDraw) {
  std::vector<double> uniform;
  for (int32_t token = 0; token < kDraws; ++token) {
    uniform.push_back(Uniform(GumbelNoise({4, 1, 7}, token)));
  }
  ExpectUniform(std::move(uniform));
}

// The joint law of two tokens on a grid of 10 by 10 cells: neighbours that share one Philox draw,
// others of a block, and both sides of a block's border. A false alarm in 10^6 each.
TEST(GumbelTest, TwoTokensAreIndependent) {
  for (const auto& [a, b] : {std::pair<int, int>{0, 1}, {5, 6}, {2, 40}, {63, 64}, {10, 74}}) {
    std::vector<int> counts(100);
    for (uint32_t i = 0; i < kDraws; ++i) {
      const NoiseKey key = {5, 2, i};
      ++counts[Cell(Uniform(GumbelNoise(key, a)), 10) * 10 +
               Cell(Uniform(GumbelNoise(key, b)), 10)];
    }
    ExpectCountsFollow(counts, std::vector<double>(100, 0.01));
  }
}

// Three tokens at once, in a corner where all are small or large: what pairs cannot show.
TEST(GumbelTest, ThreeTokensAreIndependent) {
  std::vector<int> counts(64);
  for (uint32_t i = 0; i < kDraws; ++i) {
    const NoiseKey key = {6, 0, i};
    int cell = 0;
    for (const int token : {7, 8, 33}) cell = cell * 4 + Cell(Uniform(GumbelNoise(key, token)), 4);
    ++counts[cell];
  }
  ExpectCountsFollow(counts, std::vector<double>(64, 1.0 / 64));
}

TEST(GumbelTest, TheLargestOfASubsetIsEachWithEqualChance) {
  const std::vector<int> tokens = {0, 1, 17, 62, 63, 64, 65, 128, 200};
  std::vector<int> counts(tokens.size());
  for (uint32_t i = 0; i < kDraws; ++i) {
    const NoiseKey key = {8, 0, i};
    size_t best = 0;
    for (size_t j = 1; j < tokens.size(); ++j) {
      if (GumbelNoise(key, tokens[j]) > GumbelNoise(key, tokens[best])) best = j;
    }
    ++counts[best];
  }
  ExpectCountsFollow(counts, std::vector<double>(tokens.size(), 1.0 / tokens.size()));
}

TEST(GumbelTest, ABlocksHighestNoiseIsItsTokens) {
  for (uint32_t position = 0; position < 2000; ++position) {
    const NoiseKey key = {9, 3, position};
    const uint32_t block = position % 50;
    const BlockNoise noise = NoiseOfBlock(key, block);
    int seen = 0;
    for (int32_t i = 0; i < kNoiseBlock; ++i) {
      const double of_token = GumbelNoise(key, static_cast<int32_t>(block) * kNoiseBlock + i);
      EXPECT_LE(of_token, noise.Highest());
      if (of_token == noise.Highest()) {
        ++seen;
        EXPECT_EQ(i, noise.first_token);
      }
    }
    EXPECT_EQ(seen, 1);
  }
}

TEST(GumbelTest, SeedSamplePositionAndTokenAllMatter) {
  const double noise = GumbelNoise({1, 2, 3}, 4);
  EXPECT_EQ(GumbelNoise({1, 2, 3}, 4), noise);
  EXPECT_NE(GumbelNoise({2, 2, 3}, 4), noise);
  EXPECT_NE(GumbelNoise({uint64_t{1} << 32 | 1, 2, 3}, 4), noise);
  EXPECT_NE(GumbelNoise({1, 3, 3}, 4), noise);
  EXPECT_NE(GumbelNoise({1, 2, 4}, 4), noise);
  EXPECT_NE(GumbelNoise({1, 2, 3}, 5), noise);
}

TEST(PhiloxTest, MatchesPublishedVectors) {
  // Known answers of the Random123 distribution for philox4x32-10.
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

}  // namespace
}  // namespace unlearn
