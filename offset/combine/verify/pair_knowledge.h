#ifndef OFFSET_COMBINE_VERIFY_PAIR_KNOWLEDGE_H_
#define OFFSET_COMBINE_VERIFY_PAIR_KNOWLEDGE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "offset/combine/verify/interval.h"
#include "offset/combine/verify/model_knowledge.h"

namespace unlearn {

// What is known of the pair's delta at one position. A shift common to all tokens may have been
// taken out: softmax does not see it.
//
// Let z be the ensemble's fp32 row as Combine gives it; the effect of a token is z_v - z_M,v,
// which is alpha * delta_v up to rounding.
struct PairKnowledge {
  // all_rows false: delta of model.ids(), in that order (the selective head); for every other token
  // |delta_v| <= bound. all_rows true: delta of every id (the full head), bound unused; the tails
  // are then tighter, for a pass or two over the vocabulary.
  absl::Span<const float> delta;  // [known] or [vocabulary or more]
  bool all_rows = false;
  double bound = 0;
  double alpha = 0;  // taken in fp32, as Combine does
  // |effect - alpha * delta| of every token, in logits. 0 where alpha or delta is zero throughout,
  // for then Combine gives M's logits bit for bit; else CombineRounding, plus alpha times what the
  // selective head may differ from the full one.
  double error = 0;
};

// INVALID_ARGUMENT for sizes that do not fit `model` and for what is not finite.
absl::Status CheckPairKnowledge(const ModelKnowledge& model, const PairKnowledge& pair);

// What token `index` of model.ids() gains, and what any unknown token can gain without looking at
// the full row's entries. In logits; checked before.
Interval KnownEffect(const ModelKnowledge& model, const PairKnowledge& pair, int index);
Interval EffectOf(float delta, const PairKnowledge& pair);
Interval BoundedEffect(const PairKnowledge& pair);

// A bound of |z_v - (z_M,v + alpha * delta_v)| for the fp32 arithmetic of Combine, where no |z_M,v|
// exceeds `largest_logit` and no |alpha * delta_v| exceeds `largest_effect`.
double CombineRounding(double largest_logit, double largest_effect);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_PAIR_KNOWLEDGE_H_
