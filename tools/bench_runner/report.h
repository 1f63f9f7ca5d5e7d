#ifndef TOOLS_BENCH_RUNNER_REPORT_H_
#define TOOLS_BENCH_RUNNER_REPORT_H_

#include <functional>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tools/bench_runner/compare.h"

namespace unlearn {

// One comparison: what was measured on what sizes, every figure, and their ratios within rounds.
struct BenchResult {
  struct Figure {
    std::string name;
    Spread value;
  };
  std::string bench;             // as --only has it
  nlohmann::ordered_json sizes;  // an object of numbers and names
  std::string unit;              // of the figures
  std::vector<Figure> figures;
  std::vector<Figure> ratios;  // "pair / single"
};

// Called as soon as a result is there.
using ReportResult = std::function<void(const BenchResult&)>;

nlohmann::ordered_json ToJson(const BenchResult& result);
// A few lines for people.
std::string ToText(const BenchResult& result);

// What figures depend on besides the sizes: processor, cores, load, date.
nlohmann::ordered_json DescribeMachine();

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_REPORT_H_
