#include "tools/people/seeded_random.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

TEST(SeededRandomTest, SameSeedAndStreamGiveSameNumbers) {
  SeededRandom a(7, "names"), b(7, "names");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.Next(), b.Next());
}

TEST(SeededRandomTest, SeedAndStreamBothMatter) {
  const uint64_t first = SeededRandom(7, "names").Next();
  EXPECT_NE(first, SeededRandom(8, "names").Next());
  EXPECT_NE(first, SeededRandom(7, "facts").Next());
}

TEST(SeededRandomTest, BelowIsUniform) {
  SeededRandom random(1, "test");
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) {
    const uint64_t number = random.Below(7);
    ASSERT_LT(number, 7);
    ++counts[number];
  }
  // The standard deviation is 93: five of them on either side.
  for (int count : counts) EXPECT_NEAR(count, 10000, 465);
}

TEST(SeededRandomTest, ShufflePermutesAndReachesEveryOrder) {
  SeededRandom random(1, "test");
  std::vector<int> orders(6);
  for (int i = 0; i < 6000; ++i) {
    std::vector<int> items = {0, 1, 2};
    random.Shuffle(items);
    std::vector<int> sorted = items;
    std::sort(sorted.begin(), sorted.end());
    ASSERT_EQ(sorted, (std::vector<int>{0, 1, 2}));
    ++orders[items[0] * 2 + (items[1] > items[2])];
  }
  for (int count : orders) EXPECT_NEAR(count, 1000, 150);
}

}  // namespace
}  // namespace unlearn
