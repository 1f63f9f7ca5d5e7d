#ifndef PROXY_SCHEDULER_SCHEDULER_METRICS_H_
#define PROXY_SCHEDULER_SCHEDULER_METRICS_H_

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace unlearn {

// What the scheduler measures; all durations in seconds. Thread-safe.
struct SchedulerMetrics {
  explicit SchedulerMetrics(prometheus::Registry& registry);

  prometheus::Counter& tokens;  // drawn from the ensemble
  prometheus::Counter& prompt_tokens;
  prometheus::Counter& known_prompt_tokens;  // of them, found in the pair's cache
  prometheus::Counter&
      undecided;                // tokens for which M's most likely ones did not suffice, each time
  prometheus::Counter& drafts;  // tokens that the pair drafted and M was asked about
  prometheus::Counter& drafts_stood;       // of them, those that were the ensemble's
  prometheus::Counter& streamed_accepted;  // tokens that M's own stream drew and that stood
  prometheus::Counter& streamed_replaced;  // those in whose place another was drawn
  prometheus::Counter& streams_finished;
  prometheus::Counter& streams_failed;   // cancelled ones included
  prometheus::Counter& streams_refused;  // no room
  prometheus::Gauge& streams_running;
  prometheus::Histogram& first_token;
  prometheus::Histogram& inter_token;
  prometheus::Histogram& upstream_round_trip;
  prometheus::Histogram& pair_step;
  prometheus::Histogram& pair_rows;  // tokens of a pass, reference and offset counted once
};

}  // namespace unlearn

#endif  // PROXY_SCHEDULER_SCHEDULER_METRICS_H_
