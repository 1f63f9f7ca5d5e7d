#include "proxy/upstream/logits_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace unlearn {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> RoundTrip(const std::vector<float>& row, v1::LogitsEncoding encoding) {
  std::string bytes;
  AppendEncoded(row, EncodingShift(row, encoding), encoding, &bytes);
  std::vector<float> decoded;
  EXPECT_TRUE(AppendDecoded(bytes, row.size(), encoding, &decoded).ok());
  return decoded;
}

TEST(LogitsCodecTest, EveryHalfSurvives) {
  for (int half = 0; half < 0x10000; ++half) {
    const float value = FloatFromHalf(half);
    if (std::isnan(value)) {
      EXPECT_EQ(half & 0x7C00, 0x7C00);
      EXPECT_TRUE(std::isnan(FloatFromHalf(HalfFromFloat(value))));
    } else {
      ASSERT_EQ(HalfFromFloat(value), half) << value;
    }
  }
}

TEST(LogitsCodecTest, HalfHasTheNamedValues) {
  EXPECT_EQ(HalfFromFloat(1.0f), 0x3C00);
  EXPECT_EQ(HalfFromFloat(-2.0f), 0xC000);
  EXPECT_EQ(HalfFromFloat(65504.0f), 0x7BFF);
  EXPECT_EQ(HalfFromFloat(65519.9f), 0x7BFF);
  EXPECT_EQ(HalfFromFloat(65520.0f), 0x7C00);
  EXPECT_EQ(HalfFromFloat(-kInfinity), 0xFC00);
  EXPECT_EQ(HalfFromFloat(-0.0f), 0x8000);
  EXPECT_EQ(HalfFromFloat(0x1p-24f), 0x0001);  // smallest subnormal
  EXPECT_EQ(HalfFromFloat(0x1p-25f), 0x0000);  // half of it: to even
  EXPECT_EQ(HalfFromFloat(0x1.8p-24f), 0x0002);
  EXPECT_EQ(HalfFromFloat(0x1.ffcp-15f), 0x0400);     // subnormal that rounds to the first normal
  EXPECT_EQ(HalfFromFloat(1.0f + 0x1p-11f), 0x3C00);  // tie to even, down
  EXPECT_EQ(HalfFromFloat(1.0f + 3 * 0x1p-11f), 0x3C02);  // tie to even, up
  EXPECT_EQ(FloatFromHalf(0x0001), 0x1p-24f);
  EXPECT_EQ(FloatFromHalf(0x03FF), 1023 * 0x1p-24f);
}

TEST(LogitsCodecTest, HalfIsTheNearest) {
  std::mt19937 random(7);
  std::uniform_int_distribution<uint32_t> bits(0, 0x47000000);
  for (int i = 0; i < 200000; ++i) {
    const uint32_t pattern = bits(random);
    float value;
    std::memcpy(&value, &pattern, sizeof(value));
    const uint16_t half = HalfFromFloat(value);
    const double error = std::abs(static_cast<double>(FloatFromHalf(half)) - value);
    EXPECT_LE(error, std::abs(static_cast<double>(FloatFromHalf(half + 1)) - value));
    if (half > 0) {
      EXPECT_LE(error, std::abs(static_cast<double>(FloatFromHalf(half - 1)) - value));
    }
  }
}

TEST(LogitsCodecTest, Bfloat16RoundsToNearestEven) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float value = FloatFromBfloat16(bits);
    if (!std::isnan(value)) {
      ASSERT_EQ(Bfloat16FromFloat(value), bits);
    }
  }
  EXPECT_EQ(FloatFromBfloat16(Bfloat16FromFloat(1.0f + 0x1p-8f)), 1.0f);
  EXPECT_EQ(FloatFromBfloat16(Bfloat16FromFloat(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);
  EXPECT_EQ(FloatFromBfloat16(Bfloat16FromFloat(-kInfinity)), -kInfinity);
  uint32_t low_nan = 0x7F800001;  // its payload is all in the bits that are cut off
  float value;
  std::memcpy(&value, &low_nan, sizeof(value));
  EXPECT_TRUE(std::isnan(FloatFromBfloat16(Bfloat16FromFloat(value))));
}

TEST(LogitsCodecTest, VectorPathEqualsScalarPath) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 20);
  std::vector<float> row(1003);
  for (float& value : row) value = normal(random);
  row[3] = -kInfinity;
  row[5] = -1e30f;
  row[6] = 1e-6f;
  const float shift = EncodingShift(row, v1::LOGITS_ENCODING_FP16);
  EXPECT_EQ(shift, *std::max_element(row.begin(), row.end()));
  std::string bytes;
  AppendEncoded(row, shift, v1::LOGITS_ENCODING_FP16, &bytes);
  std::vector<float> decoded;
  ASSERT_TRUE(AppendDecoded(bytes, row.size(), v1::LOGITS_ENCODING_FP16, &decoded).ok());
  for (size_t i = 0; i < row.size(); ++i) {
    EXPECT_EQ(decoded[i], FloatFromHalf(HalfFromFloat(row[i] - shift))) << i;
  }
}

TEST(LogitsCodecTest, Fp32IsBitForBit) {
  const std::vector<float> row = {1.5f, -0.0f, -kInfinity, 1e-40f, 3e38f};
  std::string bytes;
  AppendEncoded(row, EncodingShift(row, v1::LOGITS_ENCODING_FP32), v1::LOGITS_ENCODING_FP32,
                &bytes);
  ASSERT_EQ(bytes.size(), row.size() * 4);
  EXPECT_EQ(std::memcmp(bytes.data(), row.data(), bytes.size()), 0);
  EXPECT_EQ(RoundTrip(row, v1::LOGITS_ENCODING_FP32), row);
}

TEST(LogitsCodecTest, Fp16SpendsItsPrecisionAtTheTop) {
  // Without the shift, steps near 100 would be 1/16 wide.
  const std::vector<float> row = {100.01f, 100.0f, 99.9f, 60.0f, -kInfinity};
  const std::vector<float> decoded = RoundTrip(row, v1::LOGITS_ENCODING_FP16);
  EXPECT_EQ(decoded[0], 0.0f);
  EXPECT_NEAR(decoded[1], -0.01, 1e-5);
  EXPECT_NEAR(decoded[2], -0.11, 1e-4);
  EXPECT_NEAR(decoded[3], -40.01, 0.02);
  EXPECT_EQ(decoded[4], -kInfinity);
}

TEST(LogitsCodecTest, RowsWithoutAFiniteMaximumAreNotShifted) {
  EXPECT_EQ(RoundTrip({-kInfinity, -kInfinity}, v1::LOGITS_ENCODING_FP16),
            (std::vector<float>{-kInfinity, -kInfinity}));
  EXPECT_EQ(RoundTrip({kInfinity, 1.0f}, v1::LOGITS_ENCODING_FP16),
            (std::vector<float>{kInfinity, 1.0f}));
  EXPECT_TRUE(std::isnan(RoundTrip({std::nanf(""), 1.0f}, v1::LOGITS_ENCODING_FP16)[0]));
  EXPECT_EQ(EncodingShift({}, v1::LOGITS_ENCODING_FP16), 0);
}

TEST(LogitsCodecTest, WrongLengthIsAnError) {
  std::vector<float> decoded;
  const absl::Status status = AppendDecoded("abcdef", 2, v1::LOGITS_ENCODING_FP32, &decoded);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(decoded.empty());
  EXPECT_TRUE(AppendDecoded("abcdef", 3, v1::LOGITS_ENCODING_BF16, &decoded).ok());
}

TEST(LogitsCodecTest, EncodingNames) {
  EXPECT_EQ(ParseEncoding("bf16", "--x").value(), v1::LOGITS_ENCODING_BF16);
  const absl::Status status = ParseEncoding("int8", "--upstream_encoding").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("--upstream_encoding"), std::string::npos);
}

}  // namespace
}  // namespace unlearn
