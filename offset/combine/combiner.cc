#include "offset/combine/combiner.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

absl::Status BadLogit(absl::string_view whose, size_t token, float value) {
  return absl::FailedPreconditionError(absl::StrCat(whose, " gave ", value, " for token id ", token,
                                                    "; no token can be drawn from that"));
}

}  // namespace

absl::Status CheckModelLogits(absl::Span<const float> model) {
  bool any = false;
  for (size_t i = 0; i < model.size(); ++i) {
    const float value = model[i];
    if (std::isnan(value) || (std::isinf(value) && value > 0)) return BadLogit("M", i, value);
    any = any || value > -INFINITY;
  }
  if (!any) return absl::FailedPreconditionError("M gave -inf for every token");
  return absl::OkStatus();
}

absl::Status Combine(absl::Span<const float> model, absl::Span<const float> delta, double alpha,
                     absl::Span<float> ensemble) {
  if (model.size() != delta.size() || model.size() != ensemble.size()) {
    return absl::InternalError(absl::StrCat("M's row has ", model.size(), " logits, the pair's ",
                                            delta.size(), ", the ensemble's ", ensemble.size()));
  }
  if (!std::isfinite(alpha)) {
    return absl::InvalidArgumentError(absl::StrCat("alpha is ", alpha, ", must be finite"));
  }
  const float scale = static_cast<float>(alpha);
  if (scale != alpha && !std::isfinite(scale)) {
    return absl::InvalidArgumentError(absl::StrCat("alpha ", alpha, " exceeds fp32"));
  }
  float any = -INFINITY;
  // One flag over the row keeps the loop free of branches; a second pass finds the culprit.
  int bad = 0;
  for (size_t i = 0; i < model.size(); ++i) {
    const float m = model[i];
    const float added = scale * delta[i];
    const float sum = m + added;
    bad |= !(m < INFINITY) | !std::isfinite(delta[i]) | !std::isfinite(added) |
           ((sum == -INFINITY) & (m != -INFINITY)) | !(sum < INFINITY);
    any = m > any ? m : any;
    ensemble[i] = sum;
  }
  if (bad) {
    for (size_t i = 0; i < delta.size(); ++i) {
      if (!std::isfinite(delta[i])) return BadLogit("the pair", i, delta[i]);
    }
    if (model.data() != ensemble.data()) {
      if (absl::Status status = CheckModelLogits(model); !status.ok()) return status;
    }
    for (size_t i = 0; i < ensemble.size(); ++i) {
      if (!(ensemble[i] < INFINITY)) return BadLogit("the ensemble", i, ensemble[i]);
    }
    return absl::FailedPreconditionError("alpha times delta exceeds fp32; no token can be drawn");
  }
  if (any == -INFINITY) return absl::FailedPreconditionError("M gave -inf for every token");
  return absl::OkStatus();
}

}  // namespace unlearn
