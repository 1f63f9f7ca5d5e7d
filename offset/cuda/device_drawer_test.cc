#include "offset/cuda/device_drawer.h"

#include "offset/cuda/device_test_runtime.h"
#include "offset/pair/drawer_cases.h"

namespace unlearn {
namespace {

class DeviceDrawerTest : public DeviceTest {
 protected:
  const DrawerUnderTest test_ = {[this](int64_t tokens, int64_t vocab, int slots) {
                                   return DeviceDrawer::Make(runtime_.get(), tokens, vocab, slots);
                                 },
                                 [this](const at::Tensor& deltas) { return OnDevice(deltas); }};
};

TEST_F(DeviceDrawerTest, DrawsWhatTheReferenceDraws) { ExpectTheReferencesTokens(test_); }
TEST_F(DeviceDrawerTest, OneBadRowSpoilsItsOwnTokenOnly) { ExpectErrorsOfSingleRows(test_); }
TEST_F(DeviceDrawerTest, ADraftKeepsTheDelta) { ExpectADraftKeepsTheDelta(test_); }
TEST_F(DeviceDrawerTest, TheLastRowOfASlotCounts) { ExpectTheLastRowCounts(test_); }
TEST_F(DeviceDrawerTest, RefusesWhatItCannotHold) { ExpectRefusals(test_); }

TEST_F(DeviceDrawerTest, MoreTokensThanSlotsAreNotDrawn) {
  auto drawer = DeviceDrawer::Make(runtime_.get(), 10, 10, 1);
  ASSERT_TRUE(drawer.ok()) << drawer.status();
  const std::vector<EnsembleDrawer::Request> requests(2);
  const absl::Status status = (*drawer)->Draw(
      requests, [](const absl::StatusOr<SampledToken>&) { ADD_FAILURE() << "a token"; });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace unlearn
