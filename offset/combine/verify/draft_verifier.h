#ifndef OFFSET_COMBINE_VERIFY_DRAFT_VERIFIER_H_
#define OFFSET_COMBINE_VERIFY_DRAFT_VERIFIER_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/combine/sampler.h"

namespace unlearn {

// The ensemble's logits, [vocab], at place i: after the prefix and the first i drafted tokens.
// Asked for in the order 0, 1, … and only while the drafted tokens before it stand; the span must
// live until the next call.
using EnsembleRow = absl::FunctionRef<absl::StatusOr<absl::Span<const float>>(int place)>;

struct VerifiedDraft {
  // How many of the drafted tokens stand.
  int accepted = 0;
  // Those, and one more: the token in place of the first that does not stand, or the one after all
  // of them. Each with its log-prob under the ensemble.
  std::vector<SampledToken> tokens;  // [accepted + 1]
};

// Draft and verify: a drafted token stands iff it is what SampleToken draws from the ensemble's row
// with the noise of that position. The noise is a function of (seed, sample, position), nothing is
// drawn again, and a row is looked at only if all tokens before it stand; so the tokens are
// lockstep's for any drafter and any number of drafted tokens. A good drafter, with the same noise,
// only makes more of them stand.
// drafted: [γ], γ may be 0. keys: [γ + 1], the noise of each place.
// INVALID_ARGUMENT for options out of range, a wrong number of keys or a drafted id outside the
// row; a failing row's own status is passed on.
absl::StatusOr<VerifiedDraft> VerifyDraft(absl::Span<const int32_t> drafted, EnsembleRow row,
                                          const SamplingOptions& options,
                                          absl::Span<const NoiseKey> keys);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_DRAFT_VERIFIER_H_
