#include "trainer/queue/request_states.h"

#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

std::vector<v1::RequestState> AllStates() {
  std::vector<v1::RequestState> states;
  for (int number = 0; number < v1::RequestState_ARRAYSIZE; ++number) {
    if (v1::RequestState_IsValid(number)) states.push_back(static_cast<v1::RequestState>(number));
  }
  return states;
}

TEST(RequestStatesTest, EveryPairIsAsTheDesignSays) {
  // Written by hand, row by row, so that it does not repeat the code's table.
  const std::set<std::pair<int, int>> legal = {
      {1, 2}, {1, 7}, {1, 8},                  // RECEIVED
      {2, 3}, {2, 7}, {2, 8}, {2, 9},          // TRAINING
      {3, 2}, {3, 4}, {3, 7}, {3, 8}, {3, 9},  // EVALUATING
      {4, 5},                                  // PUBLISHED
      {5, 6},                                  // ENFORCED
      {8, 1}, {8, 7},                          // FAILED
      {9, 1}, {9, 7},                          // NEEDS_OPERATOR
  };
  ASSERT_EQ(AllStates().size(), 10);
  for (const v1::RequestState from : AllStates()) {
    for (const v1::RequestState to : AllStates()) {
      const bool expected = legal.count({from, to}) > 0;
      EXPECT_EQ(IsLegalTransition(from, to), expected)
          << v1::RequestState_Name(from) << " -> " << v1::RequestState_Name(to);
      EXPECT_EQ(CheckTransition(from, to).ok(), expected);
    }
  }
}

TEST(RequestStatesTest, NothingPublishedCanBeCancelledAndNothingErasedMoves) {
  for (const v1::RequestState state : {v1::PUBLISHED, v1::ENFORCED, v1::ERASED}) {
    EXPECT_FALSE(IsCancellable(state)) << v1::RequestState_Name(state);
  }
  for (const v1::RequestState end : {v1::ERASED, v1::CANCELLED}) {
    for (const v1::RequestState to : AllStates()) EXPECT_FALSE(IsLegalTransition(end, to));
  }
}

TEST(RequestStatesTest, EveryStateEitherLastsOrIsWorkedOn) {
  for (const v1::RequestState state : AllStates()) {
    if (state == v1::REQUEST_STATE_UNSPECIFIED) continue;
    const bool is_cared_for = state == v1::PUBLISHED || state == v1::ENFORCED;
    EXPECT_EQ(NeedsTraining(state) + IsLasting(state) + is_cared_for, 1)
        << v1::RequestState_Name(state);
  }
}

TEST(RequestStatesTest, ErrorsNameBothStates) {
  const absl::Status status = CheckTransition(v1::ERASED, v1::TRAINING);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_NE(status.message().find("ERASED"), std::string::npos);
  EXPECT_NE(status.message().find("TRAINING"), std::string::npos);
}

}  // namespace
}  // namespace unlearn
