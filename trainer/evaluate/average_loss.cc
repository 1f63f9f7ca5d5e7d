#include "trainer/evaluate/average_loss.h"

#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

// What fp32 log-softmax may go below zero by.
constexpr double kRounding = 1e-4;

}  // namespace

absl::Status CheckLosses(absl::string_view what, absl::Span<const double> losses) {
  if (losses.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": there are none; leave the item out of the evaluation"));
  }
  for (size_t i = 0; i < losses.size(); ++i) {
    if (!std::isfinite(losses[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, "[", i, "] is ", losses[i],
                       ", not a finite number of nats; look for a non-finite logit"));
    }
    if (losses[i] < -kRounding) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, "[", i, "] is ", losses[i],
                       ", below zero; pass negative log-likelihoods, not log-probabilities"));
    }
  }
  return absl::OkStatus();
}

}  // namespace unlearn
