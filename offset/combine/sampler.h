#ifndef OFFSET_COMBINE_SAMPLER_H_
#define OFFSET_COMBINE_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/combine/gumbel.h"

namespace unlearn {

struct SamplingOptions {
  float temperature = 0;  // 0: the most likely token, ties to the lower id
  float min_p = 0;    // keep tokens with at least this share of the most likely one's probability
  int32_t top_k = 0;  // keep the k most likely, ties to the lower id; 0: all
  float top_p = 1;    // keep the smallest set with at least this much of what is left
};

// INVALID_ARGUMENT names the field and its range.
absl::Status CheckSamplingOptions(const SamplingOptions& options);

// (logit - highest) / T, what the noise is added to; `highest` is the row's. In double, and so the
// same for a row and the row plus a constant, at any temperature.
inline double TemperedLogit(float logit, float highest, double inverse_temperature) {
  return (static_cast<double>(logit) - highest) * inverse_temperature;
}

// The logit below which min-p cuts; -inf without it.
double MinPFloor(float highest, const SamplingOptions& options);

// The tokens that survive the warps, in the order temperature, min-p, top-k, top-p; each warp sees
// the distribution that the one before it left, renormalised. Empty means all tokens;
// with top-p the most likely comes first.
std::vector<int32_t> KeptTokens(absl::Span<const float> logits, const SamplingOptions& options);

// log of the sum of exp(logits), in double.
double LogSumExp(absl::Span<const float> logits);

struct SampledToken {
  int32_t id = 0;
  float logprob = 0;  // log softmax(logits)[id]: temperature 1, before any warp
};

// Draws from softmax(logits / T) over the kept tokens as the argmax of TemperedLogit + GumbelNoise,
// ties to the lower id. logits: [vocab], checked by Combine before. Pure function of its arguments.
// This is the reference, which looks at every token's noise; TokenDrawer gives the same token.
SampledToken SampleToken(absl::Span<const float> logits, const SamplingOptions& options,
                         const NoiseKey& key);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_SAMPLER_H_
