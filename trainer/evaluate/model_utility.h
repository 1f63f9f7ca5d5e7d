#ifndef TRAINER_EVALUATE_MODEL_UTILITY_H_
#define TRAINER_EVALUATE_MODEL_UTILITY_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "trainer/evaluate/ks_test.h"

namespace unlearn {

// The three numbers that TOFU takes on one data set, each a mean over its items and in [0, 1].
struct TofuScores {
  double rouge = 0;        // recall of ROUGE-L, stemmed
  double probability = 0;  // AnswerProbability or ChoiceProbability
  double truth_ratio = 0;  // RetainTruthRatio
};

// Zero as soon as one value is: the point of the harmonic mean is that nothing may be lost, and its
// trap that a model which never saw one of the sets has no score. INVALID_ARGUMENT when there is no
// value, or one is negative or not finite.
absl::StatusOr<double> HarmonicMean(absl::Span<const double> values);

// TOFU's Model Utility: the harmonic mean of the nine numbers. Errors as above, and for a number
// above 1; they name the data set and the number.
absl::StatusOr<double> ModelUtility(const TofuScores& retain, const TofuScores& real_authors,
                                    const TofuScores& world_facts);

// TOFU's Forget Quality is the p_value: how well the truth ratios on the forget set after
// unlearning could be those of a model that never saw it. Near 1 is good; published tables give its
// logarithm.
absl::StatusOr<KsTestResult> ForgetQuality(absl::Span<const double> unlearned_truth_ratios,
                                           absl::Span<const double> never_knew_truth_ratios);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_MODEL_UTILITY_H_
