#ifndef OFFSET_COMBINE_VERIFY_STREAM_VERIFIER_H_
#define OFFSET_COMBINE_VERIFY_STREAM_VERIFIER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/combine/verify/certificate.h"
#include "offset/combine/verify/ensemble_bounds.h"
#include "offset/combine/verify/kept_set.h"
#include "offset/combine/verify/stream_verdict.h"

namespace unlearn {

// Stream and verify at one position (speculative sampling, Leviathan et al. 2023, with M's own
// stream as the draft). M drew x from p_M = softmax(z_M / T), greedily at T = 0; x stands with
// probability min(1, p(x) / p_M(x)), p being the warped law of the ensemble, and is otherwise
// replaced by a draw from the residual, in proportion to max(p - p_M, 0).
//
// What holds. There is one exact rule, a function (law of M, effects of the pair, order, draw, x)
// -> token, which VerifyStreamedRow computes from full rows; over x from p_M and the draw its
// tokens are distributed as p. A verdict here is decided only if that function gives the same token
// for EVERY law and effect that the knowledge allows, the true ones among them. Therefore
//  - a decided verdict is the exact rule's answer, whatever is learnt later: more knowledge, the
//  same
//    draw and the same order never contradict it;
//  - decided verdicts alone are NOT distributed as p: whether one is undecided depends on the draw.
//    An undecided position must be resolved by asking again with MORE knowledge (a longer list, the
//    full row of delta, at last VerifyStreamedRow) and the SAME draw; a fresh draw would bias the
//    law. If that cannot be had, no token may be emitted within a bound of 0.
// x must be a true sample of p_M, independent of the draw: an upstream that truncates, penalises or
// shares our seed breaks the law and cannot be noticed here.
//
// The residual is walked through token by token in an order: first `earlier`, then the rest of the
// list as it stands, last those that are not known. Each token is taken with probability
// (its residual) / (all residual from it on), from noise of its own (ResidualOdds). Any order gives
// the exact law if it does not depend on the draw; a server's order does not. It only has to stay:
// give the ids of the last undecided verdict's knowledge as `earlier` when asking again.
// Against one uniform number on the cumulative sum, an error of the total moves each of the later
// boundaries by its whole size; here it moves each choice by its share only. Against the argmax of
// residual + Gumbel noise, unknown tokens count with their total mass and not each with the cap.
class StreamVerifier {
 public:
  // INVALID_ARGUMENT for options or a pair out of range, or an earlier id that is not known now.
  // O(known log known), and passes over the vocabulary if pair.all_rows.
  static absl::StatusOr<StreamVerifier> Create(const ModelKnowledge& model,
                                               const PairKnowledge& pair,
                                               const SamplingOptions& options,
                                               absl::Span<const int32_t> earlier = {});

  // INVALID_ARGUMENT if the sampled token is not among the known ones (servers tell its log-prob
  // even outside the top k) or the draw is outside [0, 1).
  absl::StatusOr<StreamVerdict> Verify(int32_t sampled, const StreamDraw& draw) const;

 private:
  StreamVerifier(const ModelKnowledge& model, const PairKnowledge& pair,
                 const SamplingOptions& options);

  // min(1, p(x) / p_M(x)) of a known token, T > 0.
  Interval Acceptance(int index) const;
  // Index of the replacement of rejected token `sampled`, or -1 if it is not certain.
  int Replacement(int sampled, const NoiseKey& key) const;
  int Walk(int sampled, Interval normaliser, const std::vector<double>& odds,
           std::vector<Interval>& residual, std::vector<Interval>& rest) const;

  ModelKnowledge model_;
  SamplingOptions options_;
  EnsembleBounds at_one_;  // at T = 1, for log-probs and T = 0
  EnsembleBounds bounds_;  // at T
  KeptSet kept_;
  Interval normaliser_;        // Z = E_{v ~ p_M}[kept(v) gain_v]
  Interval unknown_residual_;  // in units of weight
  std::vector<int> order_;
};

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_STREAM_VERIFIER_H_
