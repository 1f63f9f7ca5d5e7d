#ifndef OFFSET_COMBINE_VERIFY_STREAM_VERDICT_H_
#define OFFSET_COMBINE_VERIFY_STREAM_VERDICT_H_

#include <cmath>
#include <cstdint>

#include "offset/combine/gumbel.h"
#include "offset/combine/verify/interval.h"

namespace unlearn {

// The randomness of one position, drawn before anything is known of M's answer and kept until the
// position is decided: `uniform` accepts or rejects, the noise of `residual` and a token's id says
// whether that token is taken from the residual.
struct StreamDraw {
  double uniform = 0;  // within [0, 1), independent of `residual`
  NoiseKey residual;
};

// Both from one key. An id that no vocabulary has gives the uniform number.
inline StreamDraw StreamDrawOf(const NoiseKey& key) {
  return {std::exp(-std::exp(-static_cast<double>(GumbelNoise(key, INT32_MAX)))), key};
}

// A token with residual mass r, standing before others with mass `rest` together, is taken iff
// rest < odds * r. With u = exp(-exp(-noise)) uniform, odds = 1/u - 1, and so this happens with
// probability r / (r + rest).
inline double ResidualOdds(const NoiseKey& key, int32_t token) {
  return std::expm1(std::exp(-static_cast<double>(GumbelNoise(key, token))));
}

enum class StreamOutcome {
  kAccepted,   // `token` is the one that M's stream drew
  kReplaced,   // M's was rejected, `token` stands for it; the stream must be reopened after it
  kUndecided,  // more must be known; ask again with the same draw
};

struct StreamVerdict {
  StreamOutcome outcome = StreamOutcome::kUndecided;
  int32_t token = -1;         // what is emitted; -1 if undecided
  Interval acceptance;        // of min(1, p(x) / p_M(x))
  bool rejected = false;      // M's token is out, whether or not its replacement is decided
  Interval logprob;           // of `token` under the ensemble at T = 1, before warps
  double truncated_mass = 0;  // at most this much of M's law (as it was given) is not known
};

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_STREAM_VERDICT_H_
