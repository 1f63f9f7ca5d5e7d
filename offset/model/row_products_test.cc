#include "offset/model/row_products.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"

namespace unlearn {
namespace {

std::vector<float> Random(int64_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<uint16_t> ToBf16(std::vector<float>& values) {
  std::vector<uint16_t> halves(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof(bits));
    halves[i] = static_cast<uint16_t>(bits >> 16);
    bits &= 0xFFFF0000u;
    memcpy(&values[i], &bits, sizeof(bits));
  }
  return halves;
}

// Each instruction set that this machine has, one after the other.
class RowProductsTest : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

// Sizes below, at and beyond the widths of vectors and tiles.
constexpr int64_t kIns[] = {1, 3, 16, 17, 96, 131, 2077};
constexpr int64_t kOuts[] = {1, 3, 4, 7, 33, 70};
constexpr int64_t kRowCounts[] = {1, 2, 3, 5, 6, 7, 12, 13, 40};

TEST_P(RowProductsTest, EqualsTheProductInDouble) {
  for (const int64_t in : kIns) {
    for (const int64_t out : kOuts) {
      const std::vector<float> weight = Random(out * in, 1);
      const std::vector<float> bias = Random(out, 2);
      for (const int64_t rows : kRowCounts) {
        const std::vector<float> x = Random(rows * in, 3);
        std::vector<float> y(rows * out, NAN);
        MultiplyRows(x.data(), rows, {weight.data(), false, out, in}, bias.data(), 0, out,
                     y.data());
        for (int64_t row = 0; row < rows; ++row) {
          for (int64_t o = 0; o < out; ++o) {
            double sum = bias[o];
            for (int64_t i = 0; i < in; ++i) {
              sum += static_cast<double>(x[row * in + i]) * weight[o * in + i];
            }
            ASSERT_NEAR(y[row * out + o], sum, 1e-6 * (20 + in)) << in << " " << out << " " << rows;
          }
        }
      }
    }
  }
}

TEST_P(RowProductsTest, ARowDoesNotFeelWhatSharesItsBatch) {
  for (const int64_t in : kIns) {
    const int64_t out = 71;
    std::vector<float> weight = Random(out * in, 4);
    const std::vector<uint16_t> halves = ToBf16(weight);
    const std::vector<float> x = Random(40 * in, 5);
    std::vector<float> alone(40 * out);
    for (int64_t row = 0; row < 40; ++row) {
      MultiplyRows(x.data() + row * in, 1, {weight.data(), false, out, in}, nullptr, 0, out,
                   alone.data() + row * out);
    }
    for (const int64_t rows : kRowCounts) {
      for (const bool is_bf16 : {false, true}) {
        const WeightMatrix matrix = {
            is_bf16 ? static_cast<const void*>(halves.data()) : weight.data(), is_bf16, out, in};
        // The outputs in two parts, as two threads would.
        for (const int64_t cut : {int64_t{0}, int64_t{5}, int64_t{36}, out}) {
          std::vector<float> y(rows * out, NAN);
          MultiplyRows(x.data(), rows, matrix, nullptr, 0, cut, y.data());
          MultiplyRows(x.data(), rows, matrix, nullptr, cut, out, y.data());
          ASSERT_EQ(memcmp(y.data(), alone.data(), y.size() * sizeof(float)), 0)
              << in << " " << rows << " " << cut << " " << is_bf16;
        }
      }
    }
  }
}

TEST_P(RowProductsTest, AddLowRankAddsInsideItsBlockOnly) {
  for (const int64_t out : {1, 16, 31, 64, 77}) {
    const int64_t rows = 3, rank = 5, low_stride = 7, stride = out + 4;
    const std::vector<float> low = Random(rows * low_stride, 6);
    const std::vector<float> b = Random(rank * stride, 7);
    const std::vector<float> before = Random(rows * stride, 8);
    std::vector<float> y = before;
    AddLowRank(low.data(), low_stride, rows, b.data(), stride, rank, out, y.data(), stride);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t o = 0; o < stride; ++o) {
        double sum = before[row * stride + o];
        for (int64_t k = 0; k < rank && o < out; ++k) {
          sum += static_cast<double>(low[row * low_stride + k]) * b[k * stride + o];
        }
        EXPECT_NEAR(y[row * stride + o], sum, 1e-5) << out;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, RowProductsTest, testing::ValuesIn([] {
                           std::vector<int64_t> targets;
                           for (int64_t left = hwy::SupportedTargets(); left != 0;
                                left &= left - 1) {
                             targets.push_back(left & ~(left - 1));
                           }
                           return targets;
                         }()),
                         [](const auto& info) { return std::string(hwy::TargetName(info.param)); });

}  // namespace
}  // namespace unlearn
