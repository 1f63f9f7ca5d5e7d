#ifndef PROXY_DECODE_TOLD_LAW_H_
#define PROXY_DECODE_TOLD_LAW_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/combine/verify/pair_knowledge.h"
#include "proxy/upstream/upstream.h"

// What M's server told and the pair's row, as the rules of offset/combine/verify want them.
namespace unlearn {

// INTERNAL for an id beyond the tokenizer's `tokens`: it stands for no token.
absl::Status CheckToldIds(absl::Span<const int32_t> ids, int64_t tokens);

struct ToldPair {
  PairKnowledge knowledge;   // refers to the row of delta
  double largest_logit = 0;  // of M, of those that can matter
  double largest_effect = 0;
};

// delta: [tokens or more]. least_logprob: the smallest that M told; what lies below it loses by
// more than its rounding. FAILED_PRECONDITION for a delta that is not finite.
absl::StatusOr<ToldPair> KnowPair(absl::Span<const float> delta, int64_t tokens, double alpha,
                                  double least_logprob);

}  // namespace unlearn

#endif  // PROXY_DECODE_TOLD_LAW_H_
