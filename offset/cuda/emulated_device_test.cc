#include "offset/cuda/emulated_device.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "offset/cuda/emulated_runtime.h"
#include "offset/cuda/kernel_launch.h"

// The emulation must fail where a GPU would, or tests on it say nothing.
namespace unlearn {
namespace {

void Fill(int* out, int value) { out[threadIdx.x] = value; }

TEST(EmulatedDeviceTest, ShufflesAndSharedMemoryReachAllThreads) {
  std::vector<float> sums(96, -1);
  emulated::Run({3}, {96}, 3 * sizeof(float), [&] {
    UNLEARN_DYNAMIC_SHARED(float, scratch);
    const float sum = BlockSum(static_cast<float>(threadIdx.x), scratch);
    const float again = BlockSum(1.0f, scratch);
    if (blockIdx.x == 2) sums[threadIdx.x] = sum + again;
  });
  for (const float sum : sums) EXPECT_EQ(sum, 95 * 96 / 2 + 96);
}

TEST(EmulatedDeviceTest, SharedMemoryIsNotANumberUntilItIsWritten) {
  std::vector<float> read(2);
  emulated::Run({2}, {1}, sizeof(float), [&] {
    UNLEARN_DYNAMIC_SHARED(float, scratch);
    read[blockIdx.x] = *scratch;
    *scratch = 1;
  });
  EXPECT_TRUE(std::isnan(read[0]));
  EXPECT_TRUE(std::isnan(read[1]));  // another block's is gone
}

// Without the barrier a thread reads what another has not written yet.
TEST(EmulatedDeviceTest, AMissingBarrierShows) {
  for (const bool waits : {true, false}) {
    std::vector<float> read(64);
    emulated::Run({1}, {64}, 64 * sizeof(float), [&] {
      UNLEARN_DYNAMIC_SHARED(float, scratch);
      scratch[threadIdx.x] = 1;
      if (waits) __syncthreads();
      read[threadIdx.x] = scratch[63 - threadIdx.x];
    });
    float sum = 0;
    for (const float value : read) sum += value;
    EXPECT_EQ(sum == 64, waits);
  }
}

TEST(EmulatedDeviceDeathTest, BarriersThatNotAllReach) {
  EXPECT_DEATH(emulated::Run({1}, {64}, 0,
                             [] {
                               if (threadIdx.x < 32) {
                                 __syncthreads();
                               } else {
                                 __shfl_xor_sync(kWholeWarp, 1, threadIdx.x == 40 ? 32 : 1);
                               }
                             }),
               "which the warp does not have");
  EXPECT_DEATH(emulated::Run({1}, {32}, 0,
                             [] {
                               if (threadIdx.x < 16) {
                                 __syncthreads();
                               } else {
                                 __syncwarp();
                               }
                             }),
               "wait at different barriers");
  EXPECT_DEATH(emulated::Run({1}, {2000}, 0, [] {}), "CUDA would refuse");
  EXPECT_DEATH(emulated::Run({1}, {1}, 49153, [] {}), "CUDA would refuse");
}

TEST(EmulatedRuntimeTest, CapturedWorkRunsLaterWithTheArgumentsOfThen) {
  const auto runtime = MakeEmulatedRuntime();
  std::vector<int> out(4, 0);
  int value = 7;
  const auto graph =
      runtime->Capture([&] { Launch(runtime->stream(), {1}, {4}, 0, Fill, out.data(), value); });
  EXPECT_EQ(out, std::vector<int>(4, 0));
  value = 8;
  graph->Replay();
  EXPECT_EQ(out, std::vector<int>(4, 7));
  Launch(runtime->stream(), {1}, {4}, 0, Fill, out.data(), value);
  EXPECT_EQ(out, std::vector<int>(4, 8));
}

}  // namespace
}  // namespace unlearn
