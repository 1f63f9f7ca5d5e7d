#ifndef PROXY_UPSTREAM_STEP_CHECK_H_
#define PROXY_UPSTREAM_STEP_CHECK_H_

#include <cstdint>

#include "absl/status/status.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// What every kind of session refuses, INVALID_ARGUMENT in the same words: a base position that is
// not within its `length` tokens, more tokens than M's context, ids outside its vocabulary, the
// last position of no tokens.
absl::Status CheckStep(const UpstreamStep& step, int64_t length, int64_t max_context,
                       int64_t vocab_size);

// The same for a Sample: also no tokens at all, a temperature that is negative or no number, or
// above 0 and below `least_temperature`, fewer than one token wanted.
absl::Status CheckSampling(const UpstreamSampling& sampling, int64_t length, int64_t max_context,
                           int64_t vocab_size, double least_temperature);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_STEP_CHECK_H_
