#ifndef TOOLS_DEMO_RUNNER_TOFU_REPORT_H_
#define TOOLS_DEMO_RUNNER_TOFU_REPORT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tools/demo_runner/tofu_scores.h"

namespace unlearn {

// What one model scored on the five sets.
struct TofuModelScores {
  TofuSetScores forget;
  TofuSetScores named;    // kept, and in the request's retain set
  TofuSetScores unnamed;  // kept, and not in it
  TofuSetScores real_authors;
  TofuSetScores world_facts;
  double seconds = 0;  // of asking
};

// The figures of all models by their keys "m", "ensemble" (missing where the request published
// nothing) and "retain_model": per set n and the means, Model Utility from its nine numbers (retain
// is named and unnamed together), and the Kolmogorov-Smirnov tests of the truth ratios on the
// forget set against the retain model's; the ensemble's p is TOFU's forget quality.
absl::StatusOr<nlohmann::json> TofuFigures(const std::map<std::string, TofuModelScores>& models);

// The same for a person.
std::string TofuTable(const nlohmann::json& figures);

}  // namespace unlearn

#endif  // TOOLS_DEMO_RUNNER_TOFU_REPORT_H_
