#ifndef TOOLS_DEMO_RUNNER_TOFU_MODELS_H_
#define TOOLS_DEMO_RUNNER_TOFU_MODELS_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/demo_runner/tofu_data.h"

namespace unlearn {

// HF folders, and what was written beside them for the trainer.
struct TofuModels {
  std::string m;
  std::string retain_model;  // like M, but the forget split was never in its training data
  std::string base;          // of the pair
  std::string public_data;   // JSONL for the trainer's keep term
  std::string base_data;     // "wikitext" or "TOFU authors that M does not know"
  double seconds = 0;        // of training now; 0 when all models were there already
};

// Trains the three models in `work`, or takes those that an earlier call left there when the data
// are still the same; interrupted, it goes on where it was. `wikitext` is a plain text file; where
// it is missing the base learns from the plan's outsiders. FAILED_PRECONDITION when the base's data
// hold a forgotten author's name or a run of words of an answer.
absl::StatusOr<TofuModels> TrainTofuModels(const TofuFiles& files, const TofuPlan& plan,
                                           const std::string& wikitext, const std::string& work);

}  // namespace unlearn

#endif  // TOOLS_DEMO_RUNNER_TOFU_MODELS_H_
