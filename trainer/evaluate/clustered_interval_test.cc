#include "trainer/evaluate/clustered_interval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

struct Sample {
  std::vector<double> scores;
  std::vector<std::string> names;
  std::vector<absl::string_view> clusters() const { return {names.begin(), names.end()}; }
};

// 100 persons with ten items each; half of the persons score 1 on all of them.
Sample HundredPersons() {
  Sample sample;
  for (int item = 0; item < 10; ++item) {
    for (int person = 0; person < 100; ++person) {
      sample.scores.push_back(person % 2);
      sample.names.push_back(absl::StrCat("person ", person));
    }
  }
  return sample;
}

TEST(ClusteredIntervalTest, IsAsWideAsPersonsDiffer) {
  const Sample sample = HundredPersons();
  const ClusteredInterval interval =
      *MeanWithClusteredInterval(sample.scores, sample.clusters(), /*seed=*/1);
  EXPECT_DOUBLE_EQ(interval.mean, 0.5);
  EXPECT_EQ(interval.items, 1000);
  EXPECT_EQ(interval.clusters, 100);
  // The mean of 100 fair coins: 0.5 ± 1.96 * 0.05. Drawing items would give ± 0.031.
  EXPECT_NEAR(*interval.low, 0.402, 0.015);
  EXPECT_NEAR(*interval.high, 0.598, 0.015);
}

TEST(ClusteredIntervalTest, WeighsItemsNotPersons) {
  const std::vector<double> scores = {1, 1, 1, 0};
  const std::vector<absl::string_view> clusters = {"a", "a", "a", "b"};
  const ClusteredInterval interval = *MeanWithClusteredInterval(scores, clusters, /*seed=*/1);
  EXPECT_DOUBLE_EQ(interval.mean, 0.75);
  EXPECT_DOUBLE_EQ(*interval.low, 0);
  EXPECT_DOUBLE_EQ(*interval.high, 1);
}

TEST(ClusteredIntervalTest, SeedDecides) {
  // Scores that are all different, so that two draws are hardly ever equal.
  Sample sample;
  for (int i = 0; i < 50; ++i) {
    sample.scores.push_back(std::sqrt(i));
    sample.names.push_back(absl::StrCat(i));
  }
  const auto low = [&](uint64_t seed) {
    return *MeanWithClusteredInterval(sample.scores, sample.clusters(), seed)->low;
  };
  EXPECT_EQ(low(7), low(7));
  EXPECT_NE(low(7), low(8));
}

TEST(ClusteredIntervalTest, OnePersonHasNoInterval) {
  const ClusteredInterval interval = *MeanWithClusteredInterval({0.0, 1.0}, {"a", "a"}, 1);
  EXPECT_DOUBLE_EQ(interval.mean, 0.5);
  EXPECT_FALSE(interval.low.has_value());
  EXPECT_FALSE(interval.high.has_value());
}

TEST(ClusteredIntervalTest, BadInput) {
  EXPECT_TRUE(absl::IsInvalidArgument(MeanWithClusteredInterval({}, {}, 1).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(MeanWithClusteredInterval({1.0}, {"a", "b"}, 1).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(MeanWithClusteredInterval({std::nan("")}, {"a"}, 1).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(MeanWithClusteredInterval({1.0}, {"a"}, 1, 10).status()));
}

}  // namespace
}  // namespace unlearn
