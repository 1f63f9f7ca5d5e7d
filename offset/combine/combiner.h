#ifndef OFFSET_COMBINE_COMBINER_H_
#define OFFSET_COMBINE_COMBINER_H_

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace unlearn {

// The ensemble's logits z = z_M + alpha · delta (δ-unlearning, equation 4), in fp32, once.
// model, delta, ensemble: [vocab]; `ensemble` may be `model` itself. alpha = 0 or a delta of zeros
// gives M's logits bit for bit.
// M may hold -inf (probability 0, a padded row). FAILED_PRECONDITION when M holds NaN or +inf or
// nothing above -inf, or delta or the sum is not finite: no token may be drawn then.
absl::Status Combine(absl::Span<const float> model, absl::Span<const float> delta, double alpha,
                     absl::Span<float> ensemble);

// The same check for M's logits alone.
absl::Status CheckModelLogits(absl::Span<const float> model);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_COMBINER_H_
