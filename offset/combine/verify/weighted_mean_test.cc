#include "offset/combine/verify/weighted_mean.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

TEST(WeightedMeanTest, IsExactlyTheSpanOfAllAdmissibleMeans) {
  std::mt19937_64 random(14);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int i = 0; i < 20000; ++i) {
    const int count = 1 + random() % 6;
    std::vector<WeightedValue> items(count);
    for (WeightedValue& item : items) {
      item.weight.lo = random() % 4 == 0 ? 0 : uniform(random);
      item.weight.hi = item.weight.lo + (random() % 3 == 0 ? 0 : uniform(random));
      item.value.lo = random() % 5 == 0 ? 0 : std::exp(4 * uniform(random) - 2);
      item.value.hi = item.value.lo + (random() % 2 == 0 ? 0 : uniform(random));
    }
    items[0].weight.hi += 1e-3;
    const Interval mean = WeightedMean(items);
    // The extremes are at corners.
    Interval corners = {INFINITY, -INFINITY};
    for (int corner = 0; corner < 1 << count; ++corner) {
      double weight = 0, low = 0, high = 0;
      for (int j = 0; j < count; ++j) {
        const double w = corner >> j & 1 ? items[j].weight.hi : items[j].weight.lo;
        weight += w;
        low += w * items[j].value.lo;
        high += w * items[j].value.hi;
      }
      if (weight == 0) continue;
      corners.lo = std::min(corners.lo, low / weight);
      corners.hi = std::max(corners.hi, high / weight);
    }
    EXPECT_LE(mean.lo, corners.lo * (1 + 1e-15));
    EXPECT_GE(mean.hi, corners.hi * (1 - 1e-15));
    EXPECT_NEAR(mean.lo, corners.lo, 1e-11);
    EXPECT_NEAR(mean.hi, corners.hi, 1e-11);
  }
}

TEST(WeightedMeanTest, EqualValuesHaveExactlyTheirMean) {
  const std::vector<WeightedValue> items(5, {{0.1, 0.7}, {0.3, 0.3}});
  EXPECT_EQ(WeightedMean(items).lo, 0.3);
  EXPECT_EQ(WeightedMean(items).hi, 0.3);
}

}  // namespace
}  // namespace unlearn
