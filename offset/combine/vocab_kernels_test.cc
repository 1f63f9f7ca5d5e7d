#include "offset/combine/vocab_kernels.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/combiner.h"
#include "offset/combine/hwy_targets.h"

namespace unlearn {
namespace {

constexpr size_t kSizes[] = {1, 2, 63, 64, 65, 1000, 32000, 151936};

class VocabKernelsTest : public EveryTarget {};
INSTANTIATE_EVERY_TARGET(VocabKernelsTest);

std::vector<float> Normal(size_t size, float scale, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

AlignedFloats Padded(const std::vector<float>& values) {
  AlignedFloats padded = hwy::AllocateAligned<float>(PaddedVocab(values.size()));
  std::fill(padded.get(), padded.get() + PaddedVocab(values.size()), -INFINITY);
  std::copy(values.begin(), values.end(), padded.get());
  return padded;
}

double Mass(const std::vector<float>& values, float from, float highest, double scale) {
  double mass = 0;
  for (const float value : values) {
    if (value >= from) mass += std::exp((double{value} - highest) * scale);
  }
  return mass;
}

TEST_P(VocabKernelsTest, CombineRowIsCombineBitForBit) {
  for (const size_t vocab : kSizes) {
    std::vector<float> model = Normal(vocab, 5, 1);
    for (size_t i = 1; i < vocab; i += 7) model[i] = -INFINITY;
    const std::vector<float> delta = Normal(vocab, 1, 2);
    for (const float alpha : {0.0f, 1.0f, -0.3f, 1.7f}) {
      std::vector<float> expected(vocab);
      ASSERT_TRUE(Combine(model, delta, alpha, absl::MakeSpan(expected)).ok());
      AlignedFloats ensemble = hwy::AllocateAligned<float>(PaddedVocab(vocab));
      std::vector<float> block_highest(BlocksOf(vocab));
      const CombinedRow row = CombineRow(model.data(), delta.data(), alpha, vocab, ensemble.get(),
                                         block_highest.data());
      EXPECT_TRUE(row.finite);
      for (size_t i = 0; i < vocab; ++i) {
        ASSERT_EQ(ensemble[i], expected[i]) << vocab << " " << i;
        ASSERT_EQ(std::signbit(ensemble[i]), std::signbit(expected[i]));
      }
      for (size_t i = vocab; i < PaddedVocab(vocab); ++i) ASSERT_EQ(ensemble[i], -INFINITY);
      for (size_t b = 0; b < BlocksOf(vocab); ++b) {
        ASSERT_EQ(block_highest[b], *std::max_element(ensemble.get() + b * kVocabBlock,
                                                      ensemble.get() + (b + 1) * kVocabBlock));
      }
      EXPECT_EQ(row.highest, *std::max_element(expected.begin(), expected.end()));
      const double sum = Mass(expected, -3e38f, row.highest, 1);
      EXPECT_NEAR(row.sum, sum, kMassError * sum) << vocab;
    }
  }
}

// The highest logits come last, first, and in between; the sum is rescaled on the way.
TEST_P(VocabKernelsTest, CombineRowSumsWhereverTheHighestIs) {
  constexpr size_t kVocab = 20000;
  const std::vector<float> zero(kVocab);
  AlignedFloats ensemble = hwy::AllocateAligned<float>(PaddedVocab(kVocab));
  std::vector<float> block_highest(BlocksOf(kVocab));
  for (const float slope : {1e-3f, -1e-3f, 0.05f, -0.05f, 1e34f, -1e34f}) {
    for (const size_t possible : {kVocab, size_t{1}, kVocab / 2}) {
      std::vector<float> model(kVocab, -INFINITY);
      for (size_t i = 0; i < possible; ++i) model[kVocab - 1 - i] = slope * i;
      const CombinedRow row =
          CombineRow(model.data(), zero.data(), 1, kVocab, ensemble.get(), block_highest.data());
      const double sum = Mass(model, -3e38f, row.highest, 1);
      EXPECT_TRUE(row.finite);
      EXPECT_NEAR(row.sum, sum, kMassError * sum) << slope << " " << possible;
    }
  }
}

TEST_P(VocabKernelsTest, MassesAreWithinTheirBounds) {
  for (const size_t vocab : kSizes) {
    for (const float spread : {0.0f, 0.1f, 2.0f, 10.0f, 1000.0f}) {
      for (const float scale : {0.01f, 0.7f, 1.0f, 30.0f}) {
        const std::vector<float> values = Normal(vocab, spread, 3);
        const AlignedFloats padded = Padded(values);
        const float highest = *std::max_element(values.begin(), values.end());
        std::array<float, kThresholds> thresholds;
        for (size_t i = 0; i < kThresholds; ++i) thresholds[i] = highest - spread * (7.0f - i);
        thresholds[0] = -3e38f;
        std::array<double, kThresholds> masses;
        MassesFrom(padded.get(), PaddedVocab(vocab), highest, scale, thresholds, masses);
        const double total = Mass(values, -3e38f, highest, scale);
        for (size_t i = 0; i < kThresholds; ++i) {
          EXPECT_NEAR(masses[i], Mass(values, thresholds[i], highest, scale), kMassError * total)
              << vocab << " " << spread << " " << scale << " " << i;
        }
        const TwoMasses two = PreciseMassesFrom(padded.get(), PaddedVocab(vocab), highest, scale,
                                                thresholds[0], thresholds[5]);
        const double error = PreciseMassError(vocab) * total;
        EXPECT_NEAR(two.first, total, error);
        EXPECT_NEAR(two.second, Mass(values, thresholds[5], highest, scale), error);
      }
    }
  }
}

TEST_P(VocabKernelsTest, SelectRangeKeepsOrderAndPositions) {
  for (const size_t vocab : kSizes) {
    const std::vector<float> values = Normal(vocab, 2, 4);
    const AlignedFloats padded = Padded(values);
    AlignedFloats out = hwy::AllocateAligned<float>(PaddedVocab(vocab) + kVocabBlock);
    std::vector<int32_t> positions(PaddedVocab(vocab) + kVocabBlock);
    const size_t first =
        SelectRange(padded.get(), nullptr, PaddedVocab(vocab), -1, 3, out.get(), positions.data());
    // Again, in place.
    const size_t count = SelectRange(out.get(), positions.data(), PaddedVocab(first), -0.5f, 2,
                                     out.get(), positions.data());
    std::vector<int32_t> expected;
    for (size_t i = 0; i < vocab; ++i) {
      if (values[i] >= -0.5f && values[i] < 2) expected.push_back(static_cast<int32_t>(i));
    }
    ASSERT_EQ(count, expected.size());
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(positions[i], expected[i]);
      ASSERT_EQ(out[i], values[expected[i]]);
    }
    for (size_t i = count; i < PaddedVocab(count); ++i) ASSERT_EQ(out[i], -INFINITY);
  }
}

TEST_P(VocabKernelsTest, BoundNoiseIsABoundAndClose) {
  constexpr size_t kBlocks = 5000;
  std::vector<float> bounds(PaddedVocab(kBlocks));
  int loose = 0;
  for (uint32_t position = 0; position < 40; ++position) {
    const NoiseKey key = {0x123456789abcdef0 + position, position % 3, position};
    BoundNoise(key, kBlocks, bounds.data());
    for (size_t b = 0; b < kBlocks; ++b) {
      const double highest = NoiseOfBlock(key, b).Highest();
      ASSERT_GE(bounds[b], highest);
      loose += bounds[b] > highest + 2 * kNoiseSlack;
    }
  }
  // Noise above log 64 + 7.4 is bounded by 24 bits less well: 1 in 1700 blocks.
  EXPECT_LT(loose, 40 * kBlocks / 500);
}

}  // namespace
}  // namespace unlearn
