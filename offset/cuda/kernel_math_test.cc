#include "offset/cuda/kernel_math.h"

#include <ATen/ATen.h>

#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/combiner.h"
#include "offset/combine/gumbel.h"
#include "offset/cuda/device_noise.h"

namespace unlearn {
namespace {

TEST(KernelMathTest, Bf16RoundsAsLibTorchDoes) {
  std::mt19937 random(1);
  std::vector<uint32_t> patterns = {0,          0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000,
                                    0x7F800001, 0xFF800001, 0x3F808000, 0x3F818000, 0x3F808001,
                                    0x7F7FFFFF, 1,          0x00008000};
  for (int i = 0; i < 200000; ++i) patterns.push_back(random());
  for (const uint32_t bits : patterns) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    const Bf16 rounded = FromFloat<Bf16>(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(ToFloat(rounded))) << std::hex << bits;
    } else {
      EXPECT_EQ(rounded.bits, c10::BFloat16(value).x) << std::hex << bits;
      EXPECT_EQ(ToFloat(rounded), static_cast<float>(c10::BFloat16(value)));
    }
  }
}

TEST(KernelMathTest, SplitsCoverWhatATokenSeesOnce) {
  for (const int32_t window : {0, 1, 5, 16, 17, 100}) {
    for (int32_t position = 0; position < 200; ++position) {
      const int32_t first = window > 0 ? std::max(0, position - window + 1) : 0;
      for (const int32_t splits : {1, 2, 3, 7, 16}) {
        int32_t next = first;
        for (int32_t split = 0; split < splits; ++split) {
          const SplitRange range = RangeOfSplit(position, window, splits, split);
          ASSERT_LE(range.begin, range.end);
          if (range.begin == range.end) continue;
          ASSERT_EQ(range.begin, next) << position << " " << window << " " << splits;
          next = range.end;
        }
        ASSERT_EQ(next, position + 1) << position << " " << window << " " << splits;
      }
    }
  }
}

TEST(KernelMathTest, OnlineSoftmaxInAnyGroupingEqualsTheWhole) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0, 30);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<float> scores(1 + random() % 40), values(scores.size());
    for (float& score : scores) score = normal(random);
    for (float& value : values) value = normal(random);
    double highest = -INFINITY, total = 0, expected = 0;
    for (const float score : scores) highest = std::max<double>(highest, score);
    for (size_t i = 0; i < scores.size(); ++i) {
      total += std::exp(scores[i] - highest);
      expected += std::exp(scores[i] - highest) * values[i];
    }
    // Some parts stay empty.
    const size_t parts = 1 + random() % 5;
    std::vector<OnlineSoftmax> softmax(parts);
    std::vector<float> sums(parts);
    for (size_t i = 0; i < scores.size(); ++i) {
      const size_t part = random() % parts;
      const MergeFactors factors = AddScore(softmax[part], scores[i]);
      sums[part] = sums[part] * factors.old_factor + values[i] * factors.new_factor;
    }
    OnlineSoftmax all;
    float sum = 0;
    for (size_t part = 0; part < parts; ++part) {
      const MergeFactors factors = MergeSoftmax(all, softmax[part]);
      sum = sum * factors.old_factor + sums[part] * factors.new_factor;
    }
    EXPECT_NEAR(sum / all.sum, expected / total, 1e-4);
  }
}

TEST(KernelMathTest, AScoreThatIsNotANumberStays) {
  OnlineSoftmax softmax;
  AddScore(softmax, 1.0f);
  AddScore(softmax, NAN);
  AddScore(softmax, 5.0f);
  EXPECT_TRUE(std::isnan(softmax.sum));
}

TEST(KernelMathTest, NoiseIsThatOfTheSamplerToTheLastBits) {
  for (const uint64_t seed : {uint64_t{0}, uint64_t{7}, uint64_t{0xFEDCBA9876543210}}) {
    for (const uint32_t position : {0u, 1u, 4000000000u}) {
      const NoiseKey key = {seed, position / 3, position};
      const DeviceNoiseKey same = {seed, position / 3, position};
      for (int32_t token = 0; token < 1000; ++token) {
        const DeviceBlockNoise block =
            DeviceNoiseOfBlock(same, static_cast<uint32_t>(token / kDeviceNoiseBlock));
        const double noise = DeviceGumbelNoise(same, block, token);
        EXPECT_DOUBLE_EQ(noise, GumbelNoise(key, token)) << token;
        EXPECT_LE(noise, block.highest);
      }
    }
  }
  static_assert(kDeviceNoiseBlock == kNoiseBlock);
}

TEST(KernelMathTest, CombineLogitIsCombine) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 10);
  for (const float alpha : {0.0f, 1.0f, 1.7f, -0.3f}) {
    for (int i = 0; i < 10000; ++i) {
      const float model = i % 10 == 0 ? -INFINITY : normal(random);
      const float delta = normal(random);
      // Beside one that is not -inf, which Combine would refuse alone.
      const float models[] = {model, 0.0f};
      const float deltas[] = {delta, 0.0f};
      float sums[2];
      ASSERT_TRUE(Combine(models, deltas, alpha, absl::MakeSpan(sums)).ok());
      int32_t errors = 0;
      EXPECT_EQ(CombineLogit(model, delta, alpha, errors), sums[0]);
      EXPECT_EQ(errors, 0);
    }
  }
}

TEST(KernelMathTest, CombineLogitRefusesWhatCombineRefuses) {
  const float specials[] = {0.0f, 1.0f, -1.0f, 3e38f, -3e38f, INFINITY, -INFINITY, NAN};
  for (const float model : specials) {
    for (const float delta : specials) {
      for (const float alpha : {0.0f, 1.0f, 2.0f, -2.0f}) {
        const float models[] = {model, 0.0f};
        const float deltas[] = {delta, 0.0f};
        float sums[2];
        int32_t errors = 0;
        CombineLogit(model, delta, alpha, errors);
        EXPECT_EQ(errors == 0, Combine(models, deltas, alpha, absl::MakeSpan(sums)).ok())
            << model << " " << delta << " " << alpha;
      }
    }
  }
}

TEST(KernelMathTest, LogSumsMergeInAnyOrder) {
  std::vector<double> logits = {-3, 80, 79.5, -200, 12, 80, 3};
  double expected = 0;
  for (const double logit : logits) expected += std::exp(logit - 80);
  expected = 80 + std::log(expected);
  for (int trial = 0; trial < 2; ++trial) {
    LogSum all;
    for (const double logit : logits) {
      LogSum one;
      one.highest = static_cast<float>(logit);
      one.sum = 1;
      Merge(all, one);
      Merge(all, LogSum());
    }
    EXPECT_NEAR(all.highest + std::log(all.sum), expected, 1e-12);
    std::reverse(logits.begin(), logits.end());
  }
}

}  // namespace
}  // namespace unlearn
