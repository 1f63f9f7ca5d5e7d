#include "offset/model/kernels.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

// Sizes below, at and beyond the vector widths, and not multiples of them.
constexpr int64_t kSizes[] = {1, 2, 7, 15, 16, 17, 31, 32, 48, 64, 100, 257};

std::vector<float> Random(int64_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

TEST(KernelsTest, RmsNormRow) {
  for (const int64_t size : kSizes) {
    const std::vector<float> x = Random(size, 1);
    const std::vector<float> weight = Random(size, 2);
    double squares = 0;
    for (const float value : x) squares += static_cast<double>(value) * value;
    const double scale = 1 / std::sqrt(squares / size + 0.01);
    std::vector<float> out(size, NAN);
    RmsNormRow(x.data(), weight.data(), size, 0.01f, out.data());
    for (int64_t i = 0; i < size; ++i) EXPECT_NEAR(out[i], x[i] * scale * weight[i], 1e-5) << size;
  }
}

TEST(KernelsTest, RmsNormOfZerosIsZero) {
  const std::vector<float> zeros(20), weight(20, 2.0f);
  std::vector<float> out(20, NAN);
  RmsNormRow(zeros.data(), weight.data(), 20, 1e-6f, out.data());
  EXPECT_EQ(out, zeros);
}

TEST(KernelsTest, LayerNormRow) {
  for (const int64_t size : kSizes) {
    std::vector<float> x = Random(size, 1);
    for (float& value : x) value += 3;  // the mean counts
    const std::vector<float> weight = Random(size, 2);
    const std::vector<float> bias = Random(size, 3);
    double sum = 0;
    double squares = 0;
    for (const float value : x) sum += value;
    const double mean = sum / size;
    for (const float value : x) squares += (value - mean) * (value - mean);
    const double scale = 1 / std::sqrt(squares / size + 0.01);
    std::vector<float> out(size, NAN);
    LayerNormRow(x.data(), weight.data(), bias.data(), size, 0.01f, out.data());
    for (int64_t i = 0; i < size; ++i) {
      EXPECT_NEAR(out[i], (x[i] - mean) * scale * weight[i] + bias[i], 1e-5) << size;
    }
    LayerNormRow(x.data(), weight.data(), bias.data(), size, 0.01f, x.data());
    EXPECT_EQ(x, out);
  }
}

TEST(KernelsTest, SwiGluRow) {
  for (const int64_t size : kSizes) {
    std::vector<float> gate_up = Random(2 * size, 3);
    gate_up[0] = -200;  // exp(200) is no float: silu is 0, not NaN
    std::vector<float> out(size, NAN);
    SwiGluRow(gate_up.data(), size, out.data());
    EXPECT_NEAR(out[0], 0, 1e-30) << size;
    for (int64_t i = 1; i < size; ++i) {
      const double gate = gate_up[i];
      EXPECT_NEAR(out[i], gate / (1 + std::exp(-gate)) * gate_up[size + i], 1e-5) << size;
    }
  }
}

TEST(KernelsTest, GeGluIsGeluTimesUp) {
  for (const int64_t size : kSizes) {
    std::vector<float> gate_up = Random(2 * size, 6);
    gate_up[0] = -30;  // the tanh is -1 long since
    std::vector<float> out(size);
    GeGluRow(gate_up.data(), size, out.data());
    for (int64_t i = 0; i < size; ++i) {
      const double x = gate_up[i];
      const double gelu =
          0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      EXPECT_NEAR(out[i], gelu * gate_up[size + i], 1e-5) << size;
    }
  }
}

TEST(KernelsTest, ActivateRow) {
  using Activation = ModelConfig::Activation;
  for (const int64_t size : kSizes) {
    std::vector<float> x = Random(size, 7);
    x[0] = -200;
    for (const Activation activation :
         {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh}) {
      std::vector<float> out(size, NAN);
      ActivateRow(x.data(), activation, size, out.data());
      EXPECT_NEAR(out[0], 0, 1e-30) << size;
      for (int64_t i = 1; i < size; ++i) {
        const double v = x[i];
        const double inner = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
        const double expected = activation == Activation::kSilu ? v / (1 + std::exp(-v))
                                : activation == Activation::kGelu
                                    ? v * 0.5 * std::erfc(-v / std::sqrt(2.0))
                                    : 0.5 * v * (1 + std::tanh(inner));
        EXPECT_NEAR(out[i], expected, 1e-6) << size;
      }
    }
  }
}

TEST(KernelsTest, RotateHeadsTurnsPairsOfTheTwoHalves) {
  for (const int64_t half : kSizes) {
    ModelConfig config;
    config.head_dim = 2 * half;
    config.max_positions = 30;
    const RopeTable table = MakeRopeTable(config);
    const std::vector<double> frequencies = RopeFrequencies(config);
    for (const int64_t position : {0, 1, 29}) {
      const std::vector<float> before = Random(3 * 2 * half, 4);
      std::vector<float> after = before;
      RotateHeads(after.data(), 3, config.head_dim, table, position);
      if (position == 0) {
        EXPECT_EQ(after, before);
      }
      for (int64_t head = 0; head < 3; ++head) {
        for (int64_t i = 0; i < half; ++i) {
          const double a = before[head * 2 * half + i];
          const double b = before[head * 2 * half + half + i];
          const double angle = position * frequencies[i];
          EXPECT_NEAR(after[head * 2 * half + i], a * std::cos(angle) - b * std::sin(angle), 2e-5);
          EXPECT_NEAR(after[head * 2 * half + half + i], b * std::cos(angle) + a * std::sin(angle),
                      2e-5);
        }
      }
    }
  }
}

TEST(KernelsTest, RotateHeadsLeavesTheRestOfAHead) {
  ModelConfig config;
  config.head_dim = 10;
  config.rotary_dim = 4;
  config.max_positions = 9;
  const RopeTable table = MakeRopeTable(config);
  ASSERT_EQ(table.half, 2);
  const std::vector<float> before = Random(2 * 10, 4);
  std::vector<float> after = before;
  RotateHeads(after.data(), 2, 10, table, 8);
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t i = 0; i < 10; ++i) {
      if (i < 4) {
        EXPECT_NE(after[head * 10 + i], before[head * 10 + i]);
      } else {
        EXPECT_EQ(after[head * 10 + i], before[head * 10 + i]);
      }
    }
  }
}

class AttendHeadTest : public testing::TestWithParam<int64_t> {};

TEST_P(AttendHeadTest, EqualsTheNaiveSoftmax) {
  const int64_t head_dim = GetParam();
  ModelConfig config;
  config.num_layers = 2;
  config.num_kv_heads = 3;
  config.head_dim = head_dim;
  KvCache cache(config, 128);
  // Two sequences that grow in turn, so that neither one's pages lie side by side.
  const int other = cache.AddSequence();
  const int sequence = cache.AddSequence();
  for (int64_t length = 16; length <= 64; length += 16) {
    ASSERT_TRUE(cache.Reserve(other, length).ok());
    ASSERT_TRUE(cache.Reserve(sequence, length).ok());
  }
  const int64_t width = cache.row_floats();
  std::vector<std::vector<float>> keys, values;
  for (int position = 0; position < 64; ++position) {
    keys.push_back(Random(width, 100 + position));
    values.push_back(Random(width, 200 + position));
    for (int64_t layer = 0; layer < 2; ++layer) {
      const bool wanted = layer == 1;
      for (int64_t i = 0; i < width; ++i) {
        cache.Key(layer, sequence, position)[i] = wanted ? keys.back()[i] : 1e9f;
        cache.Value(layer, sequence, position)[i] = wanted ? values.back()[i] : NAN;
        cache.Key(layer, other, position)[i] = 1e9f;
        cache.Value(layer, other, position)[i] = NAN;
      }
    }
  }
  const std::vector<float> query = Random(head_dim, 5);
  // A large scale makes the scores large too: the maximum must be taken off.
  for (const float scale : {0.3f, 60.0f}) {
    for (const int64_t position : {0, 1, 15, 16, 17, 31, 40, 63}) {
      for (const int64_t head : {0, 2}) {
        // The whole past, and windows that begin anywhere in it.
        for (const int64_t first : {int64_t{0}, position / 3, position}) {
          std::vector<double> scores(position + 1);
          double highest = -INFINITY;
          for (int64_t at = first; at <= position; ++at) {
            double sum = 0;
            for (int64_t i = 0; i < head_dim; ++i) {
              sum += static_cast<double>(query[i]) * keys[at][head * head_dim + i];
            }
            scores[at] = sum * scale;
            highest = std::max(highest, scores[at]);
          }
          double total = 0;
          for (int64_t at = first; at <= position; ++at) {
            total += scores[at] = std::exp(scores[at] - highest);
          }
          std::vector<float> scratch(position + 1), out(head_dim, NAN);
          AttendHead(query.data(), cache, 1, sequence, first, position, head, head_dim, scale,
                     scratch.data(), out.data());
          for (int64_t i = 0; i < head_dim; ++i) {
            double expected = 0;
            for (int64_t at = first; at <= position; ++at) {
              expected += scores[at] / total * values[at][head * head_dim + i];
            }
            EXPECT_NEAR(out[i], expected, scale > 1 ? 1e-3 : 1e-5) << first << " " << position;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(HeadDims, AttendHeadTest, testing::Values(2, 6, 16, 20, 32, 64, 80));

}  // namespace
}  // namespace unlearn
