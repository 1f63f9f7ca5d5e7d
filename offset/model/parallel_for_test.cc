#include "offset/model/parallel_for.h"

#include <ATen/Parallel.h>

#include <set>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"

namespace unlearn {
namespace {

class ParallelForTest : public testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(3); }
  void TearDown() override { at::set_num_threads(threads_); }

  const int threads_ = at::get_num_threads();
};

TEST_F(ParallelForTest, EachThreadTakesAPart) {
  absl::Mutex mutex;
  std::set<std::thread::id> ids;
  std::vector<int> done(3);
  ParallelFor(0, 3, 1, [&](int64_t begin, int64_t end) {
    absl::MutexLock lock(&mutex);
    ids.insert(std::this_thread::get_id());
    for (int64_t i = begin; i < end; ++i) ++done[i];
  });
  EXPECT_EQ(ids.size(), 3);
  EXPECT_EQ(done, std::vector<int>({1, 1, 1}));
}

TEST_F(ParallelForTest, WorkBelowTheGrainStaysOnTheCallersThread) {
  int calls = 0;
  ParallelFor(5, 8, 3, [&](int64_t begin, int64_t end) {
    ++calls;
    EXPECT_EQ(begin, 5);
    EXPECT_EQ(end, 8);
  });
  EXPECT_EQ(calls, 1);
  ParallelFor(8, 8, 1, [&](int64_t, int64_t) { ++calls; });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace unlearn
