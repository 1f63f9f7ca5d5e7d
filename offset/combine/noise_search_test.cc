#include "offset/combine/noise_search.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/hwy_targets.h"

namespace unlearn {
namespace {

class NoiseSearchTest : public EveryTarget {};
INSTANTIATE_EVERY_TARGET(NoiseSearchTest);

TEST_P(NoiseSearchTest, MaxNoiseOutsideIsThatOfAllTokens) {
  std::mt19937 random(1);
  for (const int32_t vocab : {1, 2, 63, 64, 65, 1000, 5000}) {
    for (const size_t size : {0, 1, 20, 900}) {
      for (uint32_t position = 0; position < 50; ++position) {
        const NoiseKey key = {31, 0, position};
        std::vector<int32_t> by_noise(vocab);
        std::vector<double> noise(vocab);
        for (int32_t i = 0; i < vocab; ++i) noise[i] = GumbelNoise(key, i);
        std::iota(by_noise.begin(), by_noise.end(), 0);
        std::sort(by_noise.begin(), by_noise.end(),
                  [&](int32_t a, int32_t b) { return noise[a] > noise[b]; });
        // Every second time, what would have won is excluded.
        if (position % 2 == 0) std::shuffle(by_noise.begin(), by_noise.end(), random);
        std::vector<int32_t> excluded(by_noise.begin(),
                                      by_noise.begin() + std::min<size_t>(size, vocab));
        std::sort(excluded.begin(), excluded.end());
        NoiseWinner expected;
        for (int32_t i = 0; i < vocab; ++i) {
          if (std::binary_search(excluded.begin(), excluded.end(), i)) continue;
          if (noise[i] > expected.score) expected = {i, noise[i]};
        }
        const NoiseWinner winner = MaxNoiseOutside(key, vocab, excluded);
        ASSERT_EQ(winner.id, expected.id);
        ASSERT_EQ(winner.score, expected.score);
      }
    }
  }
}

TEST_P(NoiseSearchTest, TiesGoToTheLowerId) {
  // So far apart from the noise that adding it changes nothing.
  std::vector<BlockBound> blocks = {{1e30, 1}, {1e30, 0}};
  const NoiseWinner winner = SearchNoise({}, 128, absl::MakeSpan(blocks), [](int32_t id) {
    return id == 40 || id == 90 ? 1e30 : -INFINITY;
  });
  EXPECT_EQ(winner.id, 40);
}

}  // namespace
}  // namespace unlearn
