#ifndef TOOLS_BENCH_RUNNER_UPSTREAM_BENCH_H_
#define TOOLS_BENCH_RUNNER_UPSTREAM_BENCH_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "offset/model/model_config.h"
#include "tools/bench_runner/compare.h"
#include "tools/bench_runner/report.h"
#include "tools/bench_runner/simulated_model.h"

namespace unlearn {

struct UpstreamBenchOptions {
  CompareOptions compare;
  std::string unlearn, proxy;  // paths of the programs
  std::string work;            // an empty folder for models, store, logs
  ModelConfig base;            // of the pair; random weights
  SimulatedModelOptions model;
  // The share of positions at which the pair's own favourite is to be the ensemble's, too. Sets
  // model.noise; the share that came out is measured and reported.
  double agreement = 0.75;
  int tokens = 48;  // of each stream
  std::vector<int> lockstep_streams = {1, 32};
  std::vector<int> draft_streams = {1, 8};
};

// A large model that is simulated, behind native gRPC: tokens per second through unlearn_proxy in
// lockstep against sessions of the same server without it; and by draft and verify against
// lockstep, "not available" where the proxy refuses that mode as UNIMPLEMENTED. Proxy and server
// are processes of their own on this machine.
absl::Status RunUpstreamBench(const UpstreamBenchOptions& options, const ReportResult& report);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_UPSTREAM_BENCH_H_
