#include "offset/combine/verify/full_delta.h"

#include <algorithm>
#include <cmath>

namespace unlearn {

absl::StatusOr<FullDelta> KnowFullDelta(absl::Span<const float> delta, int64_t tokens, double alpha,
                                        double least_logprob) {
  float largest_delta = 0;
  for (const float value : delta.subspan(0, tokens)) {
    if (!std::isfinite(value)) {
      return absl::FailedPreconditionError(
          "the pair's delta is not finite; the pair or the offset is broken");
    }
    largest_delta = std::max(largest_delta, std::abs(value));
  }
  FullDelta full;
  full.knowledge.delta = delta.subspan(0, tokens);
  full.knowledge.all_rows = true;
  full.knowledge.alpha = alpha;
  full.largest_effect = std::abs(alpha) * largest_delta;
  full.largest_logit = std::abs(least_logprob) + 1;
  if (full.largest_effect > 0) {
    full.knowledge.error = CombineRounding(full.largest_logit, full.largest_effect);
  }
  return full;
}

}  // namespace unlearn
