#include "proxy/scheduler/drawer_slots.h"

#include <set>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

TEST(DrawerSlotsTest, EveryStreamFindsItsOwnWhateverTheOthersTook) {
  DrawerSlots slots(3, 4);
  std::vector<int> first = slots.TakeOne();
  const int own = first[0];
  slots.Share(first, 100, 1);
  EXPECT_EQ(first.size(), 4u);
  std::vector<int> second = slots.TakeOne();
  slots.Share(second, 100, 1);
  EXPECT_EQ(second.size(), 2u);  // what is left
  std::vector<int> third = slots.TakeOne();
  slots.Share(third, 100, 1);
  EXPECT_EQ(third.size(), 1u);
  std::set<int> all(first.begin(), first.end());
  all.insert(second.begin(), second.end());
  all.insert(third.begin(), third.end());
  EXPECT_EQ(all, (std::set<int>{0, 1, 2, 3, 4, 5, 6}));
  // Spare ones go back at the next step, the own one stays.
  slots.Share(first, 1, 1);
  EXPECT_EQ(first, std::vector<int>{own});
  slots.Share(third, 100, 1);
  EXPECT_EQ(third.size(), 4u);
}

TEST(DrawerSlotsTest, WhatEndsGivesAllBack) {
  DrawerSlots slots(2, 4);
  for (int round = 0; round < 5; ++round) {
    std::vector<int> first = slots.TakeOne(), second = slots.TakeOne(), never;
    slots.Share(first, 4, 1);
    slots.Share(second, 2, 1);
    EXPECT_EQ(first.size(), 4u);
    EXPECT_EQ(second.size(), 2u);
    slots.GiveBack(first);
    slots.GiveBack(second);
    slots.GiveBack(never);
    EXPECT_TRUE(first.empty());
  }
}

TEST(DrawerSlotsTest, SharersGetEqualParts) {
  DrawerSlots slots(9, 8);
  std::vector<std::vector<int>> streams;
  for (int i = 0; i < 9; ++i) streams.push_back(slots.TakeOne());
  for (int i = 0; i < 4; ++i) {
    slots.Share(streams[i], 100, 4);
    EXPECT_EQ(streams[i].size(), 2u);
  }
  slots.Share(streams[4], 100, 9);
  EXPECT_EQ(streams[4].size(), 1u);
}

}  // namespace
}  // namespace unlearn
