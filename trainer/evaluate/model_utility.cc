#include "trainer/evaluate/model_utility.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace unlearn {

absl::StatusOr<double> HarmonicMean(absl::Span<const double> values) {
  if (values.empty()) {
    return absl::InvalidArgumentError("a harmonic mean was asked for over no values");
  }
  bool has_zero = false;
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]) || values[i] < 0) {
      return absl::InvalidArgumentError(absl::StrCat("values[", i, "] of a harmonic mean is ",
                                                     values[i],
                                                     "; it must be finite and not negative"));
    }
    has_zero = has_zero || values[i] == 0;
    sum += 1 / values[i];
  }
  return has_zero ? 0 : values.size() / sum;
}

absl::StatusOr<double> ModelUtility(const TofuScores& retain, const TofuScores& real_authors,
                                    const TofuScores& world_facts) {
  const std::pair<absl::string_view, const TofuScores*> sets[] = {
      {"retain", &retain}, {"real authors", &real_authors}, {"world facts", &world_facts}};
  std::vector<double> values;
  for (const auto& [set, scores] : sets) {
    const std::pair<absl::string_view, double> numbers[] = {{"ROUGE-L recall", scores->rouge},
                                                            {"probability", scores->probability},
                                                            {"truth ratio", scores->truth_ratio}};
    for (const auto& [name, value] : numbers) {
      if (!(value >= 0 && value <= 1)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "Model Utility: ", name, " of the ", set, " set is ", value,
            "; it must lie between 0 and 1 (for truth ratios, pass RetainTruthRatio's mean)"));
      }
      values.push_back(value);
    }
  }
  return HarmonicMean(values);
}

absl::StatusOr<KsTestResult> ForgetQuality(absl::Span<const double> unlearned_truth_ratios,
                                           absl::Span<const double> never_knew_truth_ratios) {
  return KsTest(unlearned_truth_ratios, never_knew_truth_ratios);
}

}  // namespace unlearn
