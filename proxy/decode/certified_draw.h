#ifndef PROXY_DECODE_CERTIFIED_DRAW_H_
#define PROXY_DECODE_CERTIFIED_DRAW_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/combine/sampler.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

struct CertifiedDraw {
  // False: what M told does not settle the token. Then more of M's tokens may (more_helps), with
  // the same key; a fresh draw would bias the law.
  bool decided = false;
  bool more_helps = false;
  SampledToken token;
  double logprob_error = 0;   // |token.logprob - true| at most
  double truncated_mass = 0;  // at most this much of M's law is not known
};

// Per-token top-k with certificate: one token of the ensemble from M's most likely tokens and the
// pair's whole row. Decided only if every law that M's answer allows gives this token for this
// noise, so tokens are distributed as the ensemble over the law that the server tells.
// model: of the upstream (vocabulary, errors). delta: [vocab or more], the pair's row.
// tokens: ids that can be drawn. INTERNAL if M gives probability to an id beyond them, or masses
// that no law has; FAILED_PRECONDITION for a delta that is not finite.
absl::StatusOr<CertifiedDraw> DrawFromTop(const TopRow& top, const UpstreamInfo& model,
                                          absl::Span<const float> delta, int64_t tokens,
                                          double alpha, const SamplingOptions& sampling,
                                          const NoiseKey& key);

// A token of the ensemble over the told part of M's law alone, for an operator who allows that
// where nothing more is told. CheckToldIds must have passed.
absl::StatusOr<SampledToken> DrawTruncated(const TopRow& top, absl::Span<const float> delta,
                                           int64_t tokens, double alpha,
                                           const SamplingOptions& sampling, const NoiseKey& key);

}  // namespace unlearn

#endif  // PROXY_DECODE_CERTIFIED_DRAW_H_
