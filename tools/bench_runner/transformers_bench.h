#ifndef TOOLS_BENCH_RUNNER_TRANSFORMERS_BENCH_H_
#define TOOLS_BENCH_RUNNER_TRANSFORMERS_BENCH_H_

#include <string>

#include "absl/status/status.h"
#include "tools/bench_runner/compare.h"
#include "tools/bench_runner/report.h"

namespace unlearn {

struct TransformersBenchOptions {
  CompareOptions compare;
  std::string python;  // of an environment with torch and transformers
  std::string script;  // transformers_pair.py
  bool large = true;
  std::string work;  // for models and logs
};

// PairEngine's step of one stream against the same pair in plain transformers: two small models,
// one after the other, in fp32 on as many threads. Both must give the same delta. Figures in ms.
absl::Status RunTransformersBench(const TransformersBenchOptions& options,
                                  const ReportResult& report);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_TRANSFORMERS_BENCH_H_
