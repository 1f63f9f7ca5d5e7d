#ifndef OFFSET_COMBINE_VERIFY_FULL_DELTA_H_
#define OFFSET_COMBINE_VERIFY_FULL_DELTA_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/combine/verify/pair_knowledge.h"

namespace unlearn {

struct FullDelta {
  PairKnowledge knowledge;   // all rows; refers to the row of delta
  double largest_logit = 0;  // of M, of those that can matter
  double largest_effect = 0;
};

// The pair's whole row, where M told its most likely tokens. delta: [tokens or more].
// least_logprob: the smallest that M told, up to a common shift; what lies below it loses by more
// than its rounding. FAILED_PRECONDITION for a delta that is not finite.
absl::StatusOr<FullDelta> KnowFullDelta(absl::Span<const float> delta, int64_t tokens, double alpha,
                                        double least_logprob);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_FULL_DELTA_H_
