#ifndef TRAINER_EVALUATE_TRUTH_RATIO_H_
#define TRAINER_EVALUATE_TRUTH_RATIO_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace unlearn {

// TOFU's Truth Ratio as its code and its published logs have it (the paper's equation 1 averages
// the perturbed answers' probabilities; the code their losses, which makes the mean geometric):
//
//     exp(-mean_i L(perturbed_i)) / exp(-L(paraphrased)),
//
// L being an average loss per token, in nats. Above 1 where the model prefers wrong answers. Kept
// within exp(±700), so that it stays finite and positive. INVALID_ARGUMENT as in CheckLosses.
absl::StatusOr<double> TruthRatio(double paraphrased_average_loss,
                                  absl::Span<const double> perturbed_average_losses);

// One number for the forget set: the mean of min(t, 1/t). 1 when wrong and right answers are
// equally likely, which is what a model that never knew comes near to. INVALID_ARGUMENT when
// there is no ratio, or one is NaN or negative.
absl::StatusOr<double> ForgetTruthRatio(absl::Span<const double> truth_ratios);

// One number for the sets that should be kept (retain, real authors, world facts): the mean of
// max(0, 1 - t). Errors as above.
absl::StatusOr<double> RetainTruthRatio(absl::Span<const double> truth_ratios);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_TRUTH_RATIO_H_
