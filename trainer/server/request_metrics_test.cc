#include "trainer/server/request_metrics.h"

#include <unistd.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

TEST(RequestMetricsTest, CountsTheRequestsOfEachState) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/metrics_", getpid());
  auto queue = RequestQueue::Open(folder);
  ASSERT_TRUE(queue.ok()) << queue.status();
  v1::SubmitRequest submit;
  submit.add_forget()->set_text("something");
  const std::string first = *(*queue)->Submit(submit);
  ASSERT_TRUE((*queue)->Submit(submit).ok());
  ASSERT_TRUE((*queue)->Transition(first, v1::RECEIVED, v1::FAILED).ok());
  const RequestMetrics metrics(queue->get());
  const auto families = metrics.Collect();
  ASSERT_EQ(families.size(), 2);
  EXPECT_EQ(families[0].name, "unlearn_trainer_requests");
  std::map<std::string, double> counts;
  for (const auto& metric : families[0].metric) {
    counts[metric.label[0].value] = metric.gauge.value;
  }
  EXPECT_EQ(counts.size(), 9);
  EXPECT_EQ(counts["RECEIVED"], 1);
  EXPECT_EQ(counts["FAILED"], 1);
  EXPECT_EQ(counts["ERASED"], 0);
  EXPECT_EQ(families[1].name, "unlearn_trainer_oldest_open_seconds");
  EXPECT_GE(families[1].metric[0].gauge.value, 0);
  queue->reset();
  ASSERT_TRUE(ShredFolder(folder).ok());
}

}  // namespace
}  // namespace unlearn
