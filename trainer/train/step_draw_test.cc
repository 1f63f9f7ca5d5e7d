#include "trainer/train/step_draw.h"

#include <map>
#include <set>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

TrainingSet MakeSet(size_t groups, size_t alternatives, size_t retain, size_t general) {
  TrainingSet set;
  set.sequences.resize(groups * alternatives + retain + general);
  size_t next = 0;
  for (size_t i = 0; i < groups; ++i) {
    set.forget_groups.emplace_back();
    for (size_t j = 0; j < alternatives; ++j) set.forget_groups.back().push_back(next++);
  }
  for (size_t i = 0; i < retain; ++i) set.retain.push_back(next++);
  for (size_t i = 0; i < general; ++i) set.general.push_back(next++);
  return set;
}

TEST(StepDrawTest, TheSameStepDrawsTheSame) {
  const TrainingSet set = MakeSet(7, 3, 10, 10);
  StepDraw one = DrawStep(set, {4, 6}, 5, 11, 3);
  StepDraw two = DrawStep(set, {4, 6}, 5, 11, 3);
  EXPECT_EQ(one.forget, two.forget);
  EXPECT_EQ(one.keep, two.keep);
  EXPECT_EQ(one.with_earlier, two.with_earlier);
  EXPECT_EQ(one.bystanders(), two.bystanders());
}

TEST(StepDrawTest, StepsAndSeedsDiffer) {
  const TrainingSet set = MakeSet(50, 3, 50, 50);
  StepDraw one = DrawStep(set, {4, 6}, 5, 11, 0);
  StepDraw later = DrawStep(set, {4, 6}, 5, 12, 0);
  StepDraw other = DrawStep(set, {4, 6}, 6, 11, 0);
  EXPECT_NE(one.keep, later.keep);
  EXPECT_NE(one.keep, other.keep);
  EXPECT_NE(one.bystanders(), later.bystanders());
}

TEST(StepDrawTest, EveryGroupComesOnceInEachRound) {
  const TrainingSet set = MakeSet(12, 2, 0, 0);
  std::map<const TrainingSequence*, size_t> group_of;
  for (size_t i = 0; i < set.forget_groups.size(); ++i) {
    for (const size_t index : set.forget_groups[i]) group_of[&set.sequences[index]] = i;
  }
  for (int round = 0; round < 3; ++round) {
    std::set<size_t> seen;
    for (int step = 0; step < 3; ++step) {
      for (const TrainingSequence* sequence :
           DrawStep(set, {4, 0}, 1, round * 3 + step, 0).forget) {
        seen.insert(group_of.at(sequence));
      }
    }
    EXPECT_EQ(seen.size(), 12u);
  }
}

TEST(StepDrawTest, HalfOfTheForgetGroupsAreTransplantedHoweverManyThereAre) {
  TrainingSet set = MakeSet(10, 1, 0, 0);
  set.transplanted_groups.assign(set.forget_groups.begin() + 1, set.forget_groups.end());
  set.forget_groups.resize(1);
  std::map<const TrainingSequence*, int> times;
  for (int step = 0; step < 6; ++step) {
    const StepDraw draw = DrawStep(set, {6, 0}, 1, step, 0);
    ASSERT_EQ(draw.forget.size(), 6u);
    for (const TrainingSequence* sequence : draw.forget) ++times[sequence];
  }
  EXPECT_EQ(times[&set.sequences[0]], 18);
  for (int i = 1; i < 10; ++i) EXPECT_EQ(times[&set.sequences[i]], 2) << i;
}

TEST(StepDrawTest, KeptSequencesAreHalfTheRequestsAndHalfTheOperators) {
  const TrainingSet set = MakeSet(1, 1, 3, 5);
  int general = 0;
  for (const TrainingSequence* sequence : DrawStep(set, {1, 10}, 1, 0, 0).keep) {
    general += sequence - &set.sequences[0] >= 4 ? 1 : 0;
  }
  EXPECT_EQ(general, 5);
  EXPECT_EQ(DrawStep(MakeSet(1, 1, 3, 0), {1, 10}, 1, 0, 0).keep.size(), 10u);
  EXPECT_EQ(DrawStep(MakeSet(1, 1, 0, 0), {1, 10}, 1, 0, 0).keep.size(), 0u);
}

TEST(StepDrawTest, EarlierAdaptersAreDroppedHalfTheTime) {
  const TrainingSet set = MakeSet(1, 1, 0, 0);
  int taken = 0;
  for (int step = 0; step < 400; ++step) taken += DrawStep(set, {1, 0}, 1, step, 1).with_earlier[0];
  // 400 fair draws lie outside 140..260 once in about 10^9 seeds.
  EXPECT_GT(taken, 140);
  EXPECT_LT(taken, 260);
}

}  // namespace
}  // namespace unlearn
