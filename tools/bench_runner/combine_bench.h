#ifndef TOOLS_BENCH_RUNNER_COMBINE_BENCH_H_
#define TOOLS_BENCH_RUNNER_COMBINE_BENCH_H_

#include "absl/status/status.h"
#include "tools/bench_runner/compare.h"
#include "tools/bench_runner/report.h"

namespace unlearn {

// One token on one thread: combine, temperature, warps, draw and log-prob, with TokenDrawer and
// with the chain of ATen operations that does the same.
absl::Status RunCombineBench(const CompareOptions& options, const ReportResult& report);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_COMBINE_BENCH_H_
