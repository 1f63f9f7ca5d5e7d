#ifndef TRAINER_EVALUATE_PROBABILITY_H_
#define TRAINER_EVALUATE_PROBABILITY_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace unlearn {

// TOFU's "Probability" (Maini et al. 2024, section 2.2). Losses are in nats; "average" means over
// the answer's tokens, end of text included where the model was trained with it. Errors are
// INVALID_ARGUMENT: no loss, or one that is not finite or is negative.

// P(a|q)^(1/|a|) from the loss of each answer token.
absl::StatusOr<double> AnswerProbability(absl::Span<const double> token_losses);

// The same from the average.
absl::StatusOr<double> AnswerProbabilityOfAverage(double average_loss);

// Real authors and world facts: the right answer's length-normalised probability over the sum of
// those of all choices.
absl::StatusOr<double> ChoiceProbability(double correct_average_loss,
                                         absl::Span<const double> perturbed_average_losses);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_PROBABILITY_H_
