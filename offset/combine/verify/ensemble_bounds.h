#ifndef OFFSET_COMBINE_VERIFY_ENSEMBLE_BOUNDS_H_
#define OFFSET_COMBINE_VERIFY_ENSEMBLE_BOUNDS_H_

#include <vector>

#include "offset/combine/verify/interval.h"
#include "offset/combine/verify/model_knowledge.h"
#include "offset/combine/verify/pair_knowledge.h"
#include "offset/combine/verify/unknown_tokens.h"

namespace unlearn {

// M's law and the ensemble's at one temperature T, before any warp, as far as they are known.
// Everything is relative: p_M,T is proportional to `reference`, p_T to `weight`, and what the pair
// multiplies p_M,T by, w_v = exp(effect_v / T), to `gain`; the three common factors cancel in what
// is asked of them and are chosen so that nothing overflows.
class EnsembleBounds {
 public:
  struct Token {
    Interval reference;  // q^(S/T), q the given law at temperature S
    Interval tilt;       // effect / T
    Interval gain;       // exp(tilt), at most 1
    Interval score;      // log weight: z / T up to a common shift
    Interval weight;     // at most 1
  };

  // CheckPairKnowledge must have passed. temperature > 0. O(known), and a few passes over the
  // vocabulary if pair.all_rows.
  EnsembleBounds(const ModelKnowledge& model, const PairKnowledge& pair, double temperature);

  const std::vector<Token>& tokens() const { return tokens_; }  // by model.ids()

  // The tokens that are not known: each has at most unknown_unit of reference, all of them together
  // unknown_reference and unknown_weight, and none scores above unknown_score (-inf if there are
  // none). A unit with tilt t weighs exp(unknown_log_unit + t).
  bool all_known() const { return unknown_.none(); }
  UnknownTokens& unknown() { return unknown_; }
  const UnknownTokens& unknown() const { return unknown_; }
  Interval unknown_unit() const { return unknown_unit_; }
  Interval unknown_log_unit() const { return unknown_log_unit_; }
  Interval unknown_reference() const { return unknown_unit_ * unknown_.units(); }
  Interval unknown_weight() const { return unknown_weight_; }
  double unknown_score() const { return unknown_score_; }

  // gain = exp(tilt - gain_shift), weight = exp(score - weight_shift).
  double gain_shift() const { return gain_shift_; }
  double weight_shift() const { return weight_shift_; }

  // log p_T of token `index`: with bounds at T = 1 its log-prob under the ensemble before any warp,
  // of which the half width is `logprob_error_bound`.
  Interval Logprob(int index) const;

 private:
  std::vector<Token> tokens_;
  UnknownTokens unknown_;
  Interval unknown_unit_;
  Interval unknown_log_unit_;
  Interval unknown_weight_;
  double unknown_score_ = 0;
  double gain_shift_ = 0;
  double weight_shift_ = 0;
};

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_ENSEMBLE_BOUNDS_H_
