#ifndef TRAINER_EVALUATE_CLUSTERED_INTERVAL_H_
#define TRAINER_EVALUATE_CLUSTERED_INTERVAL_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace unlearn {

// A mean over items with its 95 % interval.
struct ClusteredInterval {
  double mean = 0;
  // Empty with fewer than two clusters: one person says nothing about how persons differ. Both
  // equal the mean where all items score the same, so read 0 of 20 as "0 of 20", not as certainty.
  absl::optional<double> low;
  absl::optional<double> high;
  int items = 0;
  int clusters = 0;
};

// Percentile bootstrap that draws whole clusters (persons), because the items of one person are not
// independent: drawing items would make the interval far too narrow. scores[i] belongs to
// clusters[i], compared as text, in any order. The same input and seed give the same interval on
// every machine. INVALID_ARGUMENT when there is no score, one is not finite, the sizes differ, or
// `resamples` is below 100.
absl::StatusOr<ClusteredInterval> MeanWithClusteredInterval(
    absl::Span<const double> scores, absl::Span<const absl::string_view> clusters, uint64_t seed,
    int resamples = 2000);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_CLUSTERED_INTERVAL_H_
