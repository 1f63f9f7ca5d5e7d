#include "proxy/decode/told_law.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace unlearn {

absl::Status CheckToldIds(absl::Span<const int32_t> ids, int64_t tokens) {
  for (const int32_t id : ids) {
    if (id >= 0 && id < tokens) continue;
    return absl::InternalError(absl::StrCat("M gave probability to id ", id,
                                            ", which stands for no token of the tokenizer's ",
                                            tokens, "; is it the model of this tokenizer?"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ToldPair> KnowPair(absl::Span<const float> delta, int64_t tokens, double alpha,
                                  double least_logprob) {
  float largest_delta = 0;
  for (const float value : delta.subspan(0, tokens)) {
    if (!std::isfinite(value)) {
      return absl::FailedPreconditionError(
          "the pair's delta is not finite; the pair or the offset is broken");
    }
    largest_delta = std::max(largest_delta, std::abs(value));
  }
  ToldPair pair;
  pair.knowledge.delta = delta.subspan(0, tokens);
  pair.knowledge.all_rows = true;
  pair.knowledge.alpha = alpha;
  pair.largest_effect = std::abs(alpha) * largest_delta;
  pair.largest_logit = std::abs(least_logprob) + 1;
  if (pair.largest_effect > 0) {
    pair.knowledge.error = CombineRounding(pair.largest_logit, pair.largest_effect);
  }
  return pair;
}

}  // namespace unlearn
