#include "trainer/evaluate/probability.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "offset/base/status_macros.h"
#include "trainer/evaluate/average_loss.h"

namespace unlearn {

absl::StatusOr<double> AnswerProbability(absl::Span<const double> token_losses) {
  RETURN_IF_ERROR(CheckLosses("answer token losses", token_losses));
  const double sum = std::accumulate(token_losses.begin(), token_losses.end(), 0.0);
  return std::min(1.0, std::exp(-sum / token_losses.size()));
}

absl::StatusOr<double> AnswerProbabilityOfAverage(double average_loss) {
  RETURN_IF_ERROR(CheckLosses("the answer's average loss", {average_loss}));
  return std::min(1.0, std::exp(-average_loss));
}

absl::StatusOr<double> ChoiceProbability(double correct_average_loss,
                                         absl::Span<const double> perturbed_average_losses) {
  RETURN_IF_ERROR(CheckLosses("the correct answer's average loss", {correct_average_loss}));
  RETURN_IF_ERROR(CheckLosses("perturbed answers' average losses", perturbed_average_losses));
  // Divided through by the right answer's probability: no underflow when all choices are unlikely.
  double sum = 1;
  for (const double loss : perturbed_average_losses) sum += std::exp(correct_average_loss - loss);
  return 1 / sum;
}

}  // namespace unlearn
