#ifndef OFFSET_COMBINE_CHI_SQUARE_H_
#define OFFSET_COMBINE_CHI_SQUARE_H_

// For tests of random draws.

#include <cmath>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace unlearn {

// Upper quantile of chi-square by Wilson and Hilferty; z = 4.75 is a false alarm in 10^6.
inline double ChiSquareLimit(int degrees, double z = 4.75) {
  const double a = 2.0 / (9.0 * degrees);
  return degrees * std::pow(1 - a + z * std::sqrt(a), 3);
}

// Expects counts of `draws` draws to follow `law` (probabilities); cells of less than ten expected
// draws count as one, cells of probability 0 must be empty.
inline void ExpectCountsFollow(absl::Span<const int> counts, absl::Span<const double> law,
                               double draws) {
  double statistic = 0;
  int cells = 0;
  double rare_expected = 0;
  double rare_seen = 0;
  for (size_t i = 0; i < law.size(); ++i) {
    const double expected = law[i] * draws;
    if (law[i] == 0) {
      EXPECT_EQ(counts[i], 0) << "cell " << i << " is impossible";
    } else if (expected < 10) {
      rare_expected += expected;
      rare_seen += counts[i];
    } else {
      statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
      ++cells;
    }
  }
  if (rare_expected >= 5) {
    statistic += (rare_seen - rare_expected) * (rare_seen - rare_expected) / rare_expected;
    ++cells;
  }
  if (cells > 1) {
    EXPECT_LT(statistic, ChiSquareLimit(cells - 1));
  }
}

}  // namespace unlearn

#endif  // OFFSET_COMBINE_CHI_SQUARE_H_
