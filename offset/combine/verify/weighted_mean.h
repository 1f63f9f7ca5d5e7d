#ifndef OFFSET_COMBINE_VERIFY_WEIGHTED_MEAN_H_
#define OFFSET_COMBINE_VERIFY_WEIGHTED_MEAN_H_

#include "absl/types/span.h"
#include "offset/combine/verify/interval.h"

namespace unlearn {

struct WeightedValue {
  Interval weight;  // >= 0
  Interval value;   // >= 0
};

// Bounds of  sum w_i v_i / sum w_i  over all w and v within their intervals: each w at the end of
// its interval that moves the mean the wanted way, which is much tighter than a quotient of two
// sums (in which a common error of all weights would count twice). Never outside the span of the
// values. Some weight must be possible.
Interval WeightedMean(absl::Span<const WeightedValue> items);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_WEIGHTED_MEAN_H_
