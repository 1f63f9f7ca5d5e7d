#include "trainer/evaluate/truth_ratio.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "trainer/evaluate/average_loss.h"

namespace unlearn {
namespace {

absl::Status CheckRatios(absl::Span<const double> truth_ratios) {
  if (truth_ratios.empty()) {
    return absl::InvalidArgumentError(
        "truth ratios: there are none; the data set needs perturbed answers");
  }
  for (size_t i = 0; i < truth_ratios.size(); ++i) {
    if (!(truth_ratios[i] >= 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("truth ratios[", i, "] is ", truth_ratios[i], "; it must be zero or above"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<double> TruthRatio(double paraphrased_average_loss,
                                  absl::Span<const double> perturbed_average_losses) {
  RETURN_IF_ERROR(CheckLosses("the paraphrased answer's average loss", {paraphrased_average_loss}));
  RETURN_IF_ERROR(CheckLosses("perturbed answers' average losses", perturbed_average_losses));
  const double perturbed =
      std::accumulate(perturbed_average_losses.begin(), perturbed_average_losses.end(), 0.0) /
      perturbed_average_losses.size();
  return std::exp(std::clamp(paraphrased_average_loss - perturbed, -700.0, 700.0));
}

absl::StatusOr<double> ForgetTruthRatio(absl::Span<const double> truth_ratios) {
  RETURN_IF_ERROR(CheckRatios(truth_ratios));
  double sum = 0;
  for (const double ratio : truth_ratios) sum += std::min(ratio, 1 / ratio);
  return sum / truth_ratios.size();
}

absl::StatusOr<double> RetainTruthRatio(absl::Span<const double> truth_ratios) {
  RETURN_IF_ERROR(CheckRatios(truth_ratios));
  double sum = 0;
  for (const double ratio : truth_ratios) sum += std::max(0.0, 1 - ratio);
  return sum / truth_ratios.size();
}

}  // namespace unlearn
