#ifndef OFFSET_COMBINE_CHI_SQUARE_H_
#define OFFSET_COMBINE_CHI_SQUARE_H_

// For tests of random draws.

#include <cmath>
#include <numeric>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace unlearn {

// Upper quantile of chi-square by Wilson and Hilferty; z = 4.75 is a false alarm in 10^6.
inline double ChiSquareLimit(int degrees, double z = 4.75) {
  const double a = 2.0 / (9.0 * degrees);
  return degrees * std::pow(1 - a + z * std::sqrt(a), 3);
}

struct ChiSquare {
  double statistic = 0;
  double limit = INFINITY;  // passed by a true law in one of 10^6 cases
  bool impossible_seen = false;
};

// Counts of draws against a law (probabilities). Cells of less than ten expected draws count as
// one, cells of probability 0 must be empty.
template <typename Counts>
ChiSquare CompareWithLaw(const Counts& counts, absl::Span<const double> law) {
  const double draws = std::accumulate(counts.begin(), counts.end(), 0.0);
  ChiSquare result;
  int cells = 0;
  double rare_expected = 0;
  double rare_seen = 0;
  for (size_t i = 0; i < law.size(); ++i) {
    const double expected = law[i] * draws;
    if (law[i] == 0) {
      result.impossible_seen |= counts[i] > 0;
    } else if (expected < 10) {
      rare_expected += expected;
      rare_seen += counts[i];
    } else {
      result.statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
      ++cells;
    }
  }
  if (rare_expected >= 5) {
    result.statistic += (rare_seen - rare_expected) * (rare_seen - rare_expected) / rare_expected;
    ++cells;
  }
  if (cells > 1) result.limit = ChiSquareLimit(cells - 1);
  return result;
}

inline void ExpectCountsFollow(absl::Span<const int> counts, absl::Span<const double> law) {
  const ChiSquare fit = CompareWithLaw(counts, law);
  EXPECT_FALSE(fit.impossible_seen);
  EXPECT_LT(fit.statistic, fit.limit);
}

}  // namespace unlearn

#endif  // OFFSET_COMBINE_CHI_SQUARE_H_
