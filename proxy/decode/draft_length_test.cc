#include "proxy/decode/draft_length.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

DraftCosts Costs(double call, double position, double pass) {
  DraftCosts costs;
  for (int i = 0; i < 100; ++i) {
    const int positions = 1 + i % 4;
    costs.SawCall(positions, call + (positions - 1) * position);
    costs.SawPass(pass);
  }
  return costs;
}

TEST(DraftCostsTest, FindsTheLine) {
  const DraftCosts costs = Costs(0.020, 0.0005, 0.002);
  EXPECT_NEAR(costs.Call(1), 0.020, 1e-6);
  EXPECT_NEAR(costs.Call(9), 0.024, 1e-6);
  EXPECT_NEAR(costs.pass(), 0.002, 1e-9);
}

TEST(DraftCostsTest, OneLengthAloneHasNoSlope) {
  DraftCosts costs;
  EXPECT_EQ(costs.Call(3), 0);
  for (int i = 0; i < 50; ++i) costs.SawCall(1, 0.02 + 0.001 * (i % 2));
  EXPECT_NEAR(costs.Call(5), costs.Call(1), 1e-12);
}

TEST(DraftCostsTest, FollowsWhatChanges) {
  DraftCosts costs = Costs(0.020, 0.0005, 0.002);
  for (int i = 0; i < 200; ++i) {
    costs.SawCall(1 + i % 3, 0.080);
    costs.SawPass(0.001);
  }
  EXPECT_NEAR(costs.Call(1), 0.080, 1e-3);
  EXPECT_NEAR(costs.pass(), 0.001, 1e-5);
}

TEST(DraftLengthTest, NothingSeenMeansLockstep) {
  DraftLength length(/*drafts_only=*/false);
  EXPECT_EQ(length.Next(DraftCosts()), 0);
  DraftLength asked(/*drafts_only=*/true);
  EXPECT_EQ(asked.Next(DraftCosts()), 1);
}

// A slow M and a fast pair: long drafts where they stand, short ones where they do not.
TEST(DraftLengthTest, FollowsTheAgreement) {
  const DraftCosts costs = Costs(0.020, 0.0005, 0.002);
  DraftLength good(false), bad(false);
  for (int i = 0; i < 50; ++i) {
    const int drafts = good.Next(costs);
    good.Verified(drafts, drafts);
    bad.Verified(bad.Next(costs), 0);
  }
  EXPECT_EQ(good.Next(costs), DraftLength::kMost);
  EXPECT_GT(good.agreement(), 0.95);
  EXPECT_LE(bad.Next(costs), 1);
  EXPECT_LT(bad.agreement(), 0.1);
}

// Against the time that each length would really take, at its own agreement.
TEST(DraftLengthTest, IsTheFastest) {
  for (const double agreement : {0.3, 0.6, 0.8}) {
    const DraftCosts costs = Costs(0.020, 0.0005, 0.003);
    DraftLength length(false);
    for (int i = 0; i < 400; ++i) {
      // Outcomes in the right proportion: the i'th draft stands i times out of…
      length.Verified(1, (i * 7) % 10 < agreement * 10 ? 1 : 0);
    }
    double best_rate = 0;
    int best = 0;
    for (int drafts = 0; drafts <= DraftLength::kMost; ++drafts) {
      double tokens = 0, stands = 1;
      for (int i = 0; i <= drafts; ++i, stands *= length.agreement()) tokens += stands;
      const double seconds = drafts * 0.003 + 0.020 + 0.0005 * drafts;
      if (tokens / seconds > best_rate) best_rate = tokens / seconds, best = drafts;
    }
    EXPECT_NEAR(length.agreement(), agreement, 0.15);
    EXPECT_EQ(length.Next(costs), best) << agreement;
  }
}

// An M as fast as the pair: lockstep, and no trials that could never pay.
TEST(DraftLengthTest, AFastModelIsNotDraftedFor) {
  const DraftCosts costs = Costs(0.002, 0.002, 0.003);
  DraftLength length(false);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(length.Next(costs), 0);
}

// Where drafts fell but might pay again, one is tried now and then.
TEST(DraftLengthTest, TriesAgain) {
  const DraftCosts costs = Costs(0.010, 0.001, 0.005);
  DraftLength length(false);
  int trials = 0;
  for (int i = 0; i < 400; ++i) {
    const int drafts = length.Next(costs);
    trials += drafts > 0;
    length.Verified(drafts, 0);
  }
  EXPECT_GT(trials, 3);
  EXPECT_LT(trials, 40);
}

}  // namespace
}  // namespace unlearn
