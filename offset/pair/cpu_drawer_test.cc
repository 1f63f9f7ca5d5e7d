#include "offset/pair/cpu_drawer.h"

#include "offset/pair/drawer_cases.h"

namespace unlearn {
namespace {

const DrawerUnderTest kTest = {CpuDrawer::Make, [](const at::Tensor& deltas) { return deltas; }};

TEST(CpuDrawerTest, DrawsWhatTheReferenceDraws) { ExpectTheReferencesTokens(kTest); }
TEST(CpuDrawerTest, OneBadRowSpoilsItsOwnTokenOnly) { ExpectErrorsOfSingleRows(kTest); }
TEST(CpuDrawerTest, ADraftKeepsTheDelta) { ExpectADraftKeepsTheDelta(kTest); }
TEST(CpuDrawerTest, TheLastRowOfASlotCounts) { ExpectTheLastRowCounts(kTest); }
TEST(CpuDrawerTest, RefusesWhatItCannotHold) { ExpectRefusals(kTest); }

// Rows are let go of when they have been drawn from, and not drawn from twice.
TEST(CpuDrawerTest, ASlotIsDrawnFromOnce) {
  auto drawer = CpuDrawer::Make(4, 4, 1);
  ASSERT_TRUE(drawer.ok());
  EnsembleDrawer::Request request;
  const auto code = [&] { return DrawAll(**drawer, {request})[0].status().code(); };
  ASSERT_TRUE((*drawer)->KeepZeroDeltas({0}).ok());
  EXPECT_EQ(code(), absl::StatusCode::kInternal);
  ASSERT_TRUE((*drawer)->Stage({0}, {1, 2, 3, 4}).ok());
  EXPECT_EQ(code(), absl::StatusCode::kInternal);
  ASSERT_TRUE((*drawer)->Stage({0}, {1, 2, 3, 4}).ok());
  ASSERT_TRUE((*drawer)->KeepZeroDeltas({0}).ok());
  EXPECT_EQ(code(), absl::StatusCode::kOk);
  EXPECT_EQ(code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace unlearn
