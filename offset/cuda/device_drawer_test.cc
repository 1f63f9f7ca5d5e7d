#include "offset/cuda/device_drawer.h"

#include <cmath>
#include <thread>

#include "offset/combine/combiner.h"
#include "offset/cuda/device_test_runtime.h"

namespace unlearn {
namespace {

using DeviceDrawerTest = DeviceTest;

absl::Span<const float> RowOf(const at::Tensor& rows, int64_t row, int64_t size) {
  return {rows.const_data_ptr<float>() + row * rows.size(1), static_cast<size_t>(size)};
}

// Rows staged from other threads, deltas kept in another order, every warp: the CPU's tokens.
TEST_F(DeviceDrawerTest, DrawsWhatTheCpuDraws) {
  constexpr int64_t kTokens = 2500, kVocab = 2560;
  constexpr int kSlots = 6;
  auto drawer = DeviceDrawer::Make(runtime_.get(), kTokens, kVocab, kSlots);
  ASSERT_TRUE(drawer.ok()) << drawer.status();
  for (int round = 0; round < 3; ++round) {
    at::manual_seed(round);
    const at::Tensor model = at::randn({kSlots, kVocab}) * 4;
    const at::Tensor delta = at::randn({4, kVocab});
    const std::vector<int> slots = {5, 0, 3, 2};
    std::vector<std::thread> threads;
    for (const int slot : slots) {
      threads.emplace_back(
          [&, slot] { EXPECT_TRUE((*drawer)->Stage(slot, RowOf(model, slot, kVocab)).ok()); });
    }
    ASSERT_TRUE((*drawer)->KeepDeltas(OnDevice(delta), slots).ok());
    for (std::thread& thread : threads) thread.join();
    std::vector<DeviceDrawer::Request> requests(4);
    for (int i = 0; i < 4; ++i) {
      requests[i].slot = slots[i];
      requests[i].alpha = 0.5 + i;
      requests[i].options.temperature = i == 0 ? 0.0f : 0.8f;
      requests[i].key = {static_cast<uint64_t>(round), 2, static_cast<uint32_t>(40 + i)};
    }
    requests[1].options.min_p = 0.02f;
    requests[2].options.top_p = 0.9f;
    requests[3].options.top_k = 5;
    const auto drawn = (*drawer)->Draw(requests);
    ASSERT_TRUE(drawn.ok()) << drawn.status();
    ASSERT_EQ(drawn->size(), 4);
    for (int i = 0; i < 4; ++i) {
      std::vector<float> ensemble(kTokens);
      ASSERT_TRUE(Combine(RowOf(model, slots[i], kTokens), RowOf(delta, i, kTokens),
                          requests[i].alpha, absl::MakeSpan(ensemble))
                      .ok());
      const SampledToken expected = SampleToken(ensemble, requests[i].options, requests[i].key);
      ASSERT_TRUE((*drawn)[i].ok()) << (*drawn)[i].status();
      EXPECT_EQ((*drawn)[i]->id, expected.id) << i;
      EXPECT_NEAR((*drawn)[i]->logprob, expected.logprob, 1e-5) << i;
    }
  }
}

TEST_F(DeviceDrawerTest, OneBadRowSpoilsItsOwnTokenOnly) {
  auto drawer = DeviceDrawer::Make(runtime_.get(), 100, 100, 3);
  ASSERT_TRUE(drawer.ok()) << drawer.status();
  at::Tensor model = at::zeros({3, 100}), delta = at::zeros({3, 100});
  model[0][7] = NAN;
  delta[1][99] = INFINITY;
  model[2][42] = 1;
  for (int slot = 0; slot < 3; ++slot) {
    ASSERT_TRUE((*drawer)->Stage(slot, RowOf(model, slot, 100)).ok());
  }
  ASSERT_TRUE((*drawer)->KeepDeltas(OnDevice(delta), {0, 1, 2}).ok());
  std::vector<DeviceDrawer::Request> requests(3);
  for (int slot = 0; slot < 3; ++slot) requests[slot].slot = slot;
  const auto drawn = (*drawer)->Draw(requests);
  ASSERT_TRUE(drawn.ok()) << drawn.status();
  EXPECT_EQ((*drawn)[0].status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ((*drawn)[1].status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE((*drawn)[2].ok());
  EXPECT_EQ((*drawn)[2]->id, 42);
}

TEST_F(DeviceDrawerTest, RefusesWhatItCannotHold) {
  EXPECT_FALSE(DeviceDrawer::Make(runtime_.get(), 10, 9, 1).ok());
  auto drawer = DeviceDrawer::Make(runtime_.get(), 10, 12, 2);
  ASSERT_TRUE(drawer.ok()) << drawer.status();
  const std::vector<float> row(9);
  EXPECT_EQ((*drawer)->Stage(0, row).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*drawer)->Stage(2, row).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE((*drawer)->KeepDeltas(OnDevice(at::zeros({1, 12})), {0, 1}).ok());
  DeviceDrawer::Request request;
  request.alpha = INFINITY;
  EXPECT_EQ((*drawer)->Draw({request}).status().code(), absl::StatusCode::kInvalidArgument);
  request.alpha = 1;
  request.slot = -1;
  EXPECT_EQ((*drawer)->Draw({request}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace unlearn
