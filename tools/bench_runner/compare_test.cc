#include "tools/bench_runner/compare.h"

#include "gtest/gtest.h"

namespace unlearn {
namespace {

// Contenders whose work moves a clock instead of taking time.
class CompareTest : public testing::Test {
 protected:
  Contender Takes(const std::string& name, absl::Duration time) {
    return {name, [this, name, time] {
              order_ += name;
              now_ += time * slowness_;
              return absl::OkStatus();
            }};
  }
  CompareOptions Options(int rounds, absl::Duration least) {
    CompareOptions options;
    options.rounds = rounds;
    options.least = least;
    options.now = [this] { return now_; };
    return options;
  }

  absl::Time now_ = absl::UnixEpoch();
  double slowness_ = 1;
  std::string order_;
};

TEST_F(CompareTest, TakesTurnsAndThrowsTheFirstRoundAway) {
  const auto seconds = Compare({Takes("a", absl::Seconds(2)), Takes("b", absl::Seconds(3))},
                               Options(3, absl::Seconds(1)));
  ASSERT_TRUE(seconds.ok()) << seconds.status();
  EXPECT_EQ(order_, "aabbababab");
  EXPECT_EQ(*seconds, (RoundSeconds{{2, 2, 2}, {3, 3, 3}}));
}

TEST_F(CompareTest, RepeatsShortWorkAndGivesTheTimeOfOne) {
  const auto seconds = Compare({Takes("a", absl::Milliseconds(250))}, Options(1, absl::Seconds(1)));
  ASSERT_TRUE(seconds.ok()) << seconds.status();
  EXPECT_EQ(order_, "aaaaaaaaa");  // once, 4 to count, 4 measured
  EXPECT_EQ(*seconds, (RoundSeconds{{0.25}}));
}

TEST_F(CompareTest, ASlowMachineLeavesTheRatioOfARound) {
  Contender slower = Takes("b", absl::Seconds(3));
  slower.run = [run = slower.run, this] {
    const absl::Status status = run();
    slowness_ *= 2;  // from round to round
    return status;
  };
  const auto seconds =
      Compare({Takes("a", absl::Seconds(2)), slower}, Options(4, absl::Seconds(1)));
  ASSERT_TRUE(seconds.ok()) << seconds.status();
  EXPECT_GT((*seconds)[0][3], (*seconds)[0][0] * 7);
  const Spread ratio = RatioOf((*seconds)[1], (*seconds)[0]);
  EXPECT_DOUBLE_EQ(ratio.low, 1.5);
  EXPECT_DOUBLE_EQ(ratio.median, 1.5);
  EXPECT_DOUBLE_EQ(ratio.high, 1.5);
}

TEST_F(CompareTest, AnErrorEndsIt) {
  const Contender broken = {"broken", [] { return absl::InternalError("no"); }};
  EXPECT_EQ(Compare({Takes("a", absl::Seconds(2)), broken}, Options(3, absl::Seconds(1))).status(),
            absl::InternalError("no"));
  EXPECT_EQ(Compare({Takes("a", absl::Seconds(2))}, Options(0, absl::Seconds(1))).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SpreadTest, MedianAndQuartiles) {
  const Spread odd = SpreadOf({5, 1, 4, 2, 3});
  EXPECT_DOUBLE_EQ(odd.low, 2);
  EXPECT_DOUBLE_EQ(odd.median, 3);
  EXPECT_DOUBLE_EQ(odd.high, 4);
  const Spread even = SpreadOf({4, 1, 3, 2});
  EXPECT_DOUBLE_EQ(even.low, 1.75);
  EXPECT_DOUBLE_EQ(even.median, 2.5);
  EXPECT_DOUBLE_EQ(even.high, 3.25);
  const Spread one = SpreadOf({7});
  EXPECT_DOUBLE_EQ(one.low, 7);
  EXPECT_DOUBLE_EQ(one.high, 7);
}

}  // namespace
}  // namespace unlearn
