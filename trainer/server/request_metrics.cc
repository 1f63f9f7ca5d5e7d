#include "trainer/server/request_metrics.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "trainer/queue/request_states.h"

namespace unlearn {
namespace {

prometheus::MetricFamily Gauge(const char* name, const char* help) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = prometheus::MetricType::Gauge;
  return family;
}

}  // namespace

std::vector<prometheus::MetricFamily> RequestMetrics::Collect() const {
  std::vector<prometheus::MetricFamily> families = prometheus::Registry::Collect();
  const auto requests = queue_->List();
  if (!requests.ok()) return families;  // absent rather than wrong
  std::map<int, int> counts;
  for (int state = v1::RECEIVED; state < v1::RequestState_ARRAYSIZE; ++state) counts[state] = 0;
  const int64_t now = absl::ToUnixSeconds(absl::Now());
  int64_t oldest = 0;
  for (const QueuedRequest& queued : *requests) {
    const v1::RequestState state = queued.request.state();
    ++counts[state];
    if (NeedsTraining(state) || IsRetryable(state) || state == v1::PUBLISHED) {
      oldest = std::max(oldest, now - queued.request.received_unix_seconds());
    }
  }
  prometheus::MetricFamily by_state =
      Gauge("unlearn_trainer_requests", "Deletion requests by state.");
  for (const auto& count : counts) {
    prometheus::ClientMetric metric;
    metric.label.push_back(
        {"state", v1::RequestState_Name(static_cast<v1::RequestState>(count.first))});
    metric.gauge.value = count.second;
    by_state.metric.push_back(std::move(metric));
  }
  families.push_back(std::move(by_state));
  prometheus::MetricFamily age =
      Gauge("unlearn_trainer_oldest_open_seconds",
            "Age of the oldest deletion request that is neither enforced nor withdrawn.");
  age.metric.emplace_back();
  age.metric.back().gauge.value = static_cast<double>(oldest);
  families.push_back(std::move(age));
  return families;
}

}  // namespace unlearn
