#ifndef OFFSET_COMBINE_VERIFY_CERTIFICATE_H_
#define OFFSET_COMBINE_VERIFY_CERTIFICATE_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "offset/combine/sampler.h"
#include "offset/combine/verify/ensemble_bounds.h"

namespace unlearn {

struct Certificate {
  bool decided = false;
  // If decided: what SampleToken gives for the ensemble's row in every law that is possible, so
  // lockstep's token. Otherwise -1.
  int32_t token = -1;
  Interval logprob;           // of `token` under the ensemble at T = 1, before warps
  double truncated_mass = 0;  // at most this much of M's law (as it was given) is not known
  // If not decided: by how much (of z / T) the best rival may still beat the best known token, and
  // whether that rival is one of the unknown (more tokens help) or known (a smaller error helps).
  double shortfall = 0;
  bool rival_unknown = false;
};

// An upper bound, the best being the maximum itself, of effect / T + noise over the ids that are
// not in model.ids(). Asked for at most once, and only where a cruder bound does not decide.
using LargestUnknown = absl::FunctionRef<double()>;

// We draw ourselves, as the argmax of z / T + Gumbel noise; M told only its top k. The noise of
// every id is known to us, so what an unknown token can score at most is: its cap, plus its effect,
// plus the noise of exactly that id. score_error bounds what lockstep's fp32 arithmetic may do to z
// / T + noise (ScoreRounding); pair.error covers z itself. INVALID_ARGUMENT for options or a pair
// out of range.
absl::StatusOr<Certificate> CertifyToken(const ModelKnowledge& model, const PairKnowledge& pair,
                                         const SamplingOptions& options, const NoiseKey& key,
                                         double score_error, LargestUnknown largest_unknown);

// With FindLargestUnknown.
absl::StatusOr<Certificate> CertifyToken(const ModelKnowledge& model, const PairKnowledge& pair,
                                         const SamplingOptions& options, const NoiseKey& key,
                                         double score_error);

// The token that is certainly the ensemble's most likely one (ties to the lower id).
// at_one: bounds at T = 1.
Certificate CertifyGreedyToken(const ModelKnowledge& model, const EnsembleBounds& at_one);

// The maximum that LargestUnknown asks for; with pair.all_rows by looking at the noise of every id.
double FindLargestUnknown(const ModelKnowledge& model, const PairKnowledge& pair,
                          double temperature, const NoiseKey& key);

// A bound of |fp32 score - (z / T + noise)| in SampleToken where no |z| exceeds `largest_logit`.
double ScoreRounding(double largest_logit, double temperature);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_CERTIFICATE_H_
