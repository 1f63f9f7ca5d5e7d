#include "offset/model/rope.h"

#include <cmath>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

constexpr double kTwoPi = 6.283185307179586;

ModelConfig Config() {
  ModelConfig config;
  config.head_dim = 16;
  config.max_positions = 40;
  config.rope_theta = 500;
  return config;
}

TEST(RopeTest, PlainFrequenciesFallGeometrically) {
  const std::vector<double> plain = RopeFrequencies(Config());
  ASSERT_EQ(plain.size(), 8u);
  EXPECT_DOUBLE_EQ(plain[0], 1);
  for (size_t i = 1; i < plain.size(); ++i) {
    EXPECT_NEAR(plain[i] / plain[i - 1], std::pow(500, -1.0 / 8), 1e-12);
  }
}

TEST(RopeTest, LinearDividesEveryFrequency) {
  ModelConfig config = Config();
  const std::vector<double> plain = RopeFrequencies(config);
  config.rope_scaling.kind = RopeScaling::Kind::kLinear;
  config.rope_scaling.factor = 2.5;
  const std::vector<double> linear = RopeFrequencies(config);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_DOUBLE_EQ(linear[i], plain[i] / 2.5);
}

TEST(RopeTest, Llama3KeepsShortWavesStretchesLongOnesAndBlendsBetween) {
  ModelConfig config = Config();
  const std::vector<double> plain = RopeFrequencies(config);
  config.rope_scaling = {RopeScaling::Kind::kLlama3, 4.0, 1.0, 4.0, 100};
  const std::vector<double> scaled = RopeFrequencies(config);
  int kept = 0, blended = 0, stretched = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = kTwoPi / plain[i];
    if (wavelength < 100 / 4.0) {
      EXPECT_DOUBLE_EQ(scaled[i], plain[i]);
      ++kept;
    } else if (wavelength > 100 / 1.0) {
      EXPECT_DOUBLE_EQ(scaled[i], plain[i] / 4);
      ++stretched;
    } else {
      EXPECT_GT(scaled[i], plain[i] / 4);
      EXPECT_LT(scaled[i], plain[i]);
      const double share = (100 / wavelength - 1) / (4 - 1);
      EXPECT_NEAR(scaled[i], plain[i] * (share + (1 - share) / 4), 1e-12);
      ++blended;
    }
  }
  EXPECT_GT(kept, 0);
  EXPECT_GT(blended, 0);
  EXPECT_GT(stretched, 0);
}

TEST(RopeTest, TableHoldsTheAnglesOfEveryPosition) {
  const ModelConfig config = Config();
  const std::vector<double> frequencies = RopeFrequencies(config);
  const RopeTable table = MakeRopeTable(config);
  EXPECT_EQ(table.half, 8);
  ASSERT_EQ(table.cosine.size(), 40u * 8);
  ASSERT_EQ(table.sine.size(), 40u * 8);
  for (int position = 0; position < 40; ++position) {
    for (int i = 0; i < 8; ++i) {
      EXPECT_NEAR(table.cosine[position * 8 + i], std::cos(position * frequencies[i]), 5e-6);
      EXPECT_NEAR(table.sine[position * 8 + i], std::sin(position * frequencies[i]), 5e-6);
    }
  }
}

}  // namespace
}  // namespace unlearn
