#include "offset/combine/verify/ensemble_bounds.h"

#include <algorithm>
#include <cmath>

namespace unlearn {
EnsembleBounds::EnsembleBounds(const ModelKnowledge& model, const PairKnowledge& pair,
                               double temperature)
    : unknown_(model, pair, temperature) {
  const Interval exponent = Interval::Point(model.temperature()) / Interval::Point(temperature);
  const Interval divisor = Interval::Point(temperature);
  // The list's first is about M's most likely token: relative to it nothing underflows that counts.
  const Interval shift = Interval::Point(model.logprobs()[0].hi);
  tokens_.resize(model.ids().size());
  weight_shift_ = gain_shift_ = -INFINITY;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    Token& token = tokens_[i];
    const Interval log_reference = exponent * (model.logprobs()[i] - shift);
    token.reference = Exp(log_reference);
    token.tilt = KnownEffect(model, pair, static_cast<int>(i)) / divisor;
    token.score = log_reference + token.tilt;
    gain_shift_ = std::max(gain_shift_, token.tilt.hi);
    weight_shift_ = std::max(weight_shift_, token.score.hi);
  }
  unknown_score_ = -INFINITY;
  if (!unknown_.none()) {
    unknown_log_unit_ = exponent * (Interval::Point(model.unknown_cap()) - shift);
    unknown_unit_ = Exp(unknown_log_unit_);
    unknown_score_ = (unknown_log_unit_ + unknown_.tilt()).hi;
    gain_shift_ = std::max(gain_shift_, unknown_.tilt().hi);
    weight_shift_ = std::max(weight_shift_, unknown_score_);
  }
  for (Token& token : tokens_) {
    token.gain = Exp(token.tilt - Interval::Point(gain_shift_));
    token.weight = Exp(token.score - Interval::Point(weight_shift_));
  }
  const Interval log_unit = unknown_log_unit_ - Interval::Point(weight_shift_);
  unknown_weight_ =
      unknown_.Sum([&](double tilt) { return Exp(log_unit + Interval::Point(tilt)); });
}

Interval EnsembleBounds::Logprob(int index) const {
  Interval others = unknown_weight_;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (static_cast<int>(i) != index) others += tokens_[i].weight;
  }
  // p = 1 / (1 + others / own), so that one's own width does not count twice.
  const Interval ratio = others / tokens_[index].weight;
  return Min(-Log(Interval::Point(1) + ratio), Interval::Point(0));
}

}  // namespace unlearn
