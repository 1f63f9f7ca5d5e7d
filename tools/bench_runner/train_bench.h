#ifndef TOOLS_BENCH_RUNNER_TRAIN_BENCH_H_
#define TOOLS_BENCH_RUNNER_TRAIN_BENCH_H_

#include "absl/status/status.h"
#include "tools/bench_runner/compare.h"
#include "tools/bench_runner/report.h"

namespace unlearn {

struct TrainBenchOptions {
  CompareOptions compare;
  bool large = true;  // also under a vocabulary of 32000, with M of about 110 million parameters
};

// A training step with M's logits and the reference's hidden states cached, against a bare forward
// and backward of the same offset, and against the naive step, which runs all three models.
absl::Status RunTrainBench(const TrainBenchOptions& options, const ReportResult& report);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_TRAIN_BENCH_H_
