#ifndef TOOLS_BENCH_RUNNER_WIRE_BENCH_H_
#define TOOLS_BENCH_RUNNER_WIRE_BENCH_H_

#include "absl/status/status.h"
#include "tools/bench_runner/compare.h"
#include "tools/bench_runner/report.h"

namespace unlearn {

struct WireBenchOptions {
  int rounds = 9;
  int steps = 100;  // of a round, each way
  int vocabulary = 131072;
};

// What one step of a session adds when M is behind native gRPC, in a server of this process, over
// TCP and over a unix socket, to the same step of the same M called in place. The two take turns.
absl::Status RunWireBench(const WireBenchOptions& options, const ReportResult& report);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_WIRE_BENCH_H_
