#include "offset/combine/verify/pair_knowledge.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace unlearn {

absl::Status CheckPairKnowledge(const ModelKnowledge& model, const PairKnowledge& pair) {
  const size_t least = pair.all_rows ? model.vocabulary() : model.ids().size();
  if (pair.all_rows ? pair.delta.size() < least : pair.delta.size() != least) {
    return absl::InvalidArgumentError(
        absl::StrCat("delta has ", pair.delta.size(), " rows, must have ",
                     pair.all_rows ? "at least one for each of the vocabulary's "
                                   : "exactly one for each of the known tokens, ",
                     least));
  }
  if (!std::isfinite(pair.alpha) || !std::isfinite(static_cast<float>(pair.alpha))) {
    return absl::InvalidArgumentError(
        absl::StrCat("alpha is ", pair.alpha, ", must be finite in fp32"));
  }
  const auto bad = [](double x) { return !(x >= 0 && x <= 1e6); };
  if (bad(pair.error)) {
    return absl::InvalidArgumentError(
        absl::StrCat("error of the effect is ", pair.error, ", must be between 0 and 1e6"));
  }
  if (!pair.all_rows && bad(pair.bound)) {
    return absl::InvalidArgumentError(
        absl::StrCat("bound of delta is ", pair.bound, ", must be between 0 and 1e6"));
  }
  for (size_t i = 0; i < least; ++i) {
    // Written so that a NaN fails.
    if (!(std::abs(pair.delta[i]) <= 1e6f)) {
      return absl::InvalidArgumentError(
          absl::StrCat("delta is ", pair.delta[i], " at row ", i, ", must be within 1e6 of 0"));
    }
  }
  return absl::OkStatus();
}

Interval EffectOf(float delta, const PairKnowledge& pair) {
  return Interval::Point(static_cast<float>(pair.alpha)) * Interval::Point(delta) +
         Interval::Around0(pair.error);
}

Interval KnownEffect(const ModelKnowledge& model, const PairKnowledge& pair, int index) {
  return EffectOf(pair.delta[pair.all_rows ? model.ids()[index] : index], pair);
}

Interval BoundedEffect(const PairKnowledge& pair) {
  return Interval::Point(static_cast<float>(pair.alpha)) * Interval::Around0(pair.bound) +
         Interval::Around0(pair.error);
}

double CombineRounding(double largest_logit, double largest_effect) {
  // alpha is rounded to fp32 before (EffectOf does so too), the product once, the sum once: half a
  // unit in the last place each, 2^-24 of the result; 2^-149 for results among the subnormals.
  const double product = std::ldexp(largest_effect, -24);
  const double sum = std::ldexp(largest_logit + largest_effect + product, -24);
  return (product + sum) * (1 + 1e-9) + std::ldexp(1.0, -148);
}

}  // namespace unlearn
