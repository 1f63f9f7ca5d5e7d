#ifndef OFFSET_COMBINE_VERIFY_KEPT_SET_H_
#define OFFSET_COMBINE_VERIFY_KEPT_SET_H_

#include <cstdint>
#include <vector>

#include "offset/combine/sampler.h"
#include "offset/combine/verify/ensemble_bounds.h"

namespace unlearn {

enum class Membership : uint8_t {
  kOut,  // in no law that is possible
  kUndecided,
  kIn,  // in every law that is possible
};

// What KeptTokens would leave of the ensemble's row, as far as it is certain.
struct KeptSet {
  std::vector<Membership> tokens;  // by model.ids()
  // Of the unknown tokens: all of them in, none in, or it is not certain.
  Membership unknown = Membership::kUndecided;
  // The kept tokens weigh at least this much together (EnsembleBounds' weights), whichever they
  // are.
  double least_weight = 0;
  bool undecided = false;  // anything in `tokens` or `unknown`
};

// min-p, top-k, top-p in this order, each on what the one before left. All three cut a list sorted
// by weight, so a survivor's betters survive with it: "how many are ahead" and "how much is ahead"
// need no membership, and a token is compared with what lies ahead of and behind it, in which its
// own uncertainty and the common factor of all weights cancel.
// KeptTokens works in double or less: comparisons of sums and of min-p's threshold leave a relative
// 1e-6 to its rounding; comparisons of two tokens are exact there and leave nothing.
// bounds: at options.temperature > 0. O(known log known).
KeptSet CertifyKeptSet(const EnsembleBounds& bounds, const SamplingOptions& options);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_KEPT_SET_H_
