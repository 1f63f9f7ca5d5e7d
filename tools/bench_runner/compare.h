#ifndef TOOLS_BENCH_RUNNER_COMPARE_H_
#define TOOLS_BENCH_RUNNER_COMPARE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace unlearn {

// One of the ways of doing the same work that are compared.
struct Contender {
  std::string name;
  std::function<absl::Status()> run;  // the work, once
};

struct CompareOptions {
  int rounds = 9;
  // Each contender repeats its work in every round until it has taken this long.
  absl::Duration least = absl::Milliseconds(100);
  std::function<absl::Time()> now;  // empty: the system's clock
};

// Seconds of one piece of work, [contender][round].
using RoundSeconds = std::vector<std::vector<double>>;

// Runs the contenders in turn, A B C A B C ..., so that what else the machine does meets all of
// them; what is compared are the figures of one round. A first round, which sets the number of
// repetitions, is thrown away. The first error of a contender ends it.
absl::StatusOr<RoundSeconds> Compare(absl::Span<const Contender> contenders,
                                     const CompareOptions& options);

// Middle and spread of figures of several rounds.
struct Spread {
  double median = 0;
  double low = 0;  // quartiles, linearly interpolated
  double high = 0;
};
Spread SpreadOf(std::vector<double> values);  // at least one
// The value below which this share of them lies, linearly interpolated; at least one.
double QuantileOf(std::vector<double> values, double share);

// numerator[i] / denominator[i] of every round.
Spread RatioOf(absl::Span<const double> numerator, absl::Span<const double> denominator);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_COMPARE_H_
