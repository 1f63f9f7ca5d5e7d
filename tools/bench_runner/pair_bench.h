#ifndef TOOLS_BENCH_RUNNER_PAIR_BENCH_H_
#define TOOLS_BENCH_RUNNER_PAIR_BENCH_H_

#include <string>

#include "absl/status/status.h"
#include "tools/bench_runner/compare.h"
#include "tools/bench_runner/report.h"

namespace unlearn {

struct PairBenchOptions {
  CompareOptions compare;
  bool large = true;  // also the base of about 110 million parameters
  std::string work;   // a folder for its weights
};

// PairEngine::Step for several streams against one step of the base alone, and against the
// reference and the offset run one after the other.
absl::Status RunPairBench(const PairBenchOptions& options, const ReportResult& report);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_PAIR_BENCH_H_
