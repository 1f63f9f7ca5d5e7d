#include "trainer/evaluate/ks_test.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "trainer/evaluate/metric_vectors.h"

namespace unlearn {
namespace {

// The sample itself, or what [count, multiplier, modulus, shift] stands for.
std::vector<double> Sample(const nlohmann::json& vector, const char* name, const char* formula) {
  if (vector.contains(name)) return vector[name].get<std::vector<double>>();
  const auto numbers = vector[formula].get<std::vector<int64_t>>();
  std::vector<double> sample;
  for (int64_t i = 0; i < numbers[0]; ++i) {
    sample.push_back(i * numbers[1] % numbers[2] + numbers[3]);
  }
  return sample;
}

TEST(KsTestTest, AgreesWithScipysExactMethod) {
  const nlohmann::json vectors = MetricVectors("ks_test");
  EXPECT_GT(vectors.size(), 50);
  for (size_t i = 0; i < vectors.size(); ++i) {
    SCOPED_TRACE(i);
    const std::vector<double> first = Sample(vectors[i], "first", "first_formula");
    const std::vector<double> second = Sample(vectors[i], "second", "second_formula");
    const absl::StatusOr<KsTestResult> result = KsTest(first, second);
    ASSERT_TRUE(result.ok()) << result.status();
    const double p_value = vectors[i]["p_value"].get<double>();
    EXPECT_NEAR(result->statistic, vectors[i]["statistic"].get<double>(), 1e-14);
    EXPECT_NEAR(result->p_value / p_value, 1, 1e-9) << p_value;
    // Two-sided, so the order of the samples does not matter.
    EXPECT_NEAR(KsTest(second, first)->p_value / p_value, 1, 1e-9);
  }
}

TEST(KsTestTest, SeparatedSamples) {
  // Two of the binom(6, 3) orders keep the samples apart.
  const KsTestResult result = *KsTest({1.0, 2.0, 3.0}, {4.0, 5.0, 6.0});
  EXPECT_EQ(result.statistic, 1);
  EXPECT_NEAR(result.p_value, 2.0 / 20, 1e-15);
}

TEST(KsTestTest, InfinitiesAreValuesLikeOthers) {
  EXPECT_EQ(KsTest({1.0, HUGE_VAL}, {2.0, HUGE_VAL})->statistic, 0.5);
  EXPECT_EQ(KsTest({1.0, HUGE_VAL}, {1.0, HUGE_VAL})->p_value, 1);
}

TEST(KsTestTest, BadSamples) {
  EXPECT_TRUE(absl::IsInvalidArgument(KsTest({}, {1.0}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(KsTest({1.0}, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(KsTest({1.0}, {std::nan("")}).status()));
  const std::vector<double> large(30'000, 1.0);
  EXPECT_TRUE(absl::IsInvalidArgument(KsTest(large, large).status()));
}

}  // namespace
}  // namespace unlearn
