#ifndef OFFSET_COMBINE_VERIFY_STREAM_ROW_H_
#define OFFSET_COMBINE_VERIFY_STREAM_ROW_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/combine/sampler.h"
#include "offset/combine/verify/stream_verdict.h"

namespace unlearn {

// The exact rule of stream and verify (see StreamVerifier) from M's full row: always decided, and
// the last resort of a position that the top k left undecided, with the same draw and the ids known
// then as `earlier`. Later tokens of the residual come in the order of their ids.
// model: M's logits; ensemble: Combine's row of them; [vocab] both.
// INVALID_ARGUMENT if the sizes differ, an id is out of range or twice in `earlier`, M gave the
// sampled token probability 0, or the draw is outside [0, 1).
absl::StatusOr<StreamVerdict> VerifyStreamedRow(absl::Span<const float> model,
                                                absl::Span<const float> ensemble,
                                                const SamplingOptions& options, int32_t sampled,
                                                const StreamDraw& draw,
                                                absl::Span<const int32_t> earlier = {});

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_STREAM_ROW_H_
