#ifndef PROXY_DECODE_STREAMED_POSITION_H_
#define PROXY_DECODE_STREAMED_POSITION_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/combine/sampler.h"
#include "offset/combine/verify/stream_verdict.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

struct StreamedToken {
  // False: what M told does not settle the token. Then more of its tokens may (more_helps).
  bool decided = false;
  bool more_helps = false;
  bool accepted = false;  // M's own; else it stands in its place, and M's stream is void after it
  SampledToken token;
  double logprob_error = 0;   // |token.logprob - true| at most
  double truncated_mass = 0;  // at most this much of M's law is not known
};

// Stream and verify at one position: whether the token that M drew stands, or what stands in its
// place. Asked again with more of M's law until it is decided, with the same randomness, so that
// tokens are distributed as the ensemble over the law that the server tells.
class StreamedPosition {
 public:
  explicit StreamedPosition(const NoiseKey& key) : draw_(StreamDrawOf(key)) {}

  // row: what M drew and told; with an empty list nothing is decided. model: of the upstream.
  // delta: [tokens or more], the pair's row. INTERNAL if M gives probability to an id beyond
  // `tokens`, or masses that no law has; FAILED_PRECONDITION for a delta that is not finite.
  absl::StatusOr<StreamedToken> Verify(const SampledRow& row, const UpstreamInfo& model,
                                       absl::Span<const float> delta, int64_t tokens, double alpha,
                                       const SamplingOptions& sampling);

 private:
  const StreamDraw draw_;
  std::vector<int32_t> earlier_;  // ids that were known when it was not decided
};

}  // namespace unlearn

#endif  // PROXY_DECODE_STREAMED_POSITION_H_
