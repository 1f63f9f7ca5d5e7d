#ifndef TRAINER_SERVER_REQUEST_METRICS_H_
#define TRAINER_SERVER_REQUEST_METRICS_H_

#include <vector>

#include "prometheus/registry.h"
#include "trainer/queue/request_queue.h"

namespace unlearn {

// The trainer's metrics, read from the queue when they are asked for:
//   unlearn_trainer_requests{state}             deletion requests in each state
//   unlearn_trainer_oldest_open_seconds         age of the oldest request that is not yet ENFORCED
//                                               and not withdrawn; 0 without one. To alert on.
class RequestMetrics : public prometheus::Registry {
 public:
  explicit RequestMetrics(const RequestQueue* queue) : queue_(queue) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const RequestQueue* const queue_;
};

}  // namespace unlearn

#endif  // TRAINER_SERVER_REQUEST_METRICS_H_
