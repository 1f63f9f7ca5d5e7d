#ifndef TOOLS_BENCH_RUNNER_PROXY_BENCH_H_
#define TOOLS_BENCH_RUNNER_PROXY_BENCH_H_

#include <string>

#include "absl/status/status.h"
#include "tools/bench_runner/compare.h"
#include "tools/bench_runner/report.h"
#include "tools/harness/server_trio.h"

namespace unlearn {

struct ProxyBenchOptions {
  CompareOptions compare;
  Programs programs;
  std::string work;      // an empty folder for models, store, logs
  double delay_ms = 20;  // what every step of M takes on top of its computation
  int tokens = 48;       // of each stream
};

// Tokens per second through the proxy, under a version with one adapter, against sessions of the
// same model server without it. All are processes of their own on this machine.
absl::Status RunProxyBench(const ProxyBenchOptions& options, const ReportResult& report);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_PROXY_BENCH_H_
