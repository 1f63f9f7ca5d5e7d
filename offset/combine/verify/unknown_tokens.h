#ifndef OFFSET_COMBINE_VERIFY_UNKNOWN_TOKENS_H_
#define OFFSET_COMBINE_VERIFY_UNKNOWN_TOKENS_H_

#include <vector>

#include "absl/functional/function_ref.h"
#include "offset/combine/verify/interval.h"
#include "offset/combine/verify/model_knowledge.h"
#include "offset/combine/verify/pair_knowledge.h"

namespace unlearn {

// Bounds of  sum (q_v / cap)^exponent  over `count` tokens with 0 <= q_v <= cap whose masses sum to
// units * cap (units within an interval, 0 <= units <= count). For exponent > 1 (a temperature
// below that of the log-probs) x^exponent is convex: the sum is largest with as many tokens at the
// cap as fit and one with the remainder, smallest spread evenly; for exponent < 1 the other way
// round.
Interval TemperedUnits(Interval units, double count, Interval exponent);

// The tokens of M that nobody told us about, at a temperature: one has at most one unit, all of
// them together `units` of them, and each is tilted by its effect / temperature.
class UnknownTokens {
 public:
  // Checked arguments, temperature > 0. Loops over the vocabulary only if pair.all_rows and there
  // are any.
  UnknownTokens(const ModelKnowledge& model, const PairKnowledge& pair, double temperature);

  bool none() const { return count_ == 0 || units_.hi == 0; }
  double count() const { return count_; }
  Interval units() const { return units_; }
  // effect / temperature, over all unknown tokens.
  Interval tilt() const { return tilt_; }

  // Bounds of  sum units_v * value(tilt_v)  with value >= 0 and increasing: a fractional knapsack,
  // filled from the highest (lowest) tilt. `value` is asked at single tilts and answers with
  // bounds.
  using Value = absl::FunctionRef<Interval(double tilt)>;
  Interval Sum(Value value);
  // Bounds of the mean, weighted by units, of value(tilt_v). [0, 0] if there are none.
  Interval Mean(Value value);

 private:
  double Fill(double units, bool highest, Value value);

  double count_ = 0;
  Interval units_;
  Interval tilt_;
  double tilt_error_ = 0;
  // Tilts of the unknown tokens, when they are known one by one. Reordered by Fill.
  std::vector<double> tilts_;
};

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_UNKNOWN_TOKENS_H_
