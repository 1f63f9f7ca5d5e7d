#ifndef TRAINER_EVALUATE_KS_TEST_H_
#define TRAINER_EVALUATE_KS_TEST_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace unlearn {

struct KsTestResult {
  double statistic = 0;  // D, the largest distance of the two empirical distributions
  double p_value = 1;    // two-sided: the chance of at least this D if both come from one
};

// Two-sample Kolmogorov-Smirnov test with the exact p-value; the asymptotic one is off by more than
// a factor of two on TOFU's logs. Ties are counted as scipy's ks_2samp counts them: D is taken
// between distinct values, the p-value is that of continuous distributions, and so an upper bound.
// A p-value below the range of a double comes back as zero.
//
// Time is at most the product of the sample sizes, which may be up to 4e8 (20 000 each).
// INVALID_ARGUMENT when a sample is empty, holds a NaN, or both are too large together.
absl::StatusOr<KsTestResult> KsTest(absl::Span<const double> first,
                                    absl::Span<const double> second);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_KS_TEST_H_
