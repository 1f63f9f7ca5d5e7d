#ifndef TRAINER_EVALUATE_AVERAGE_LOSS_H_
#define TRAINER_EVALUATE_AVERAGE_LOSS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace unlearn {

// Whether every number can be a negative log-likelihood in nats: finite and not below zero by more
// than rounding. A log-probability handed over with its sign is the usual mistake, and it would
// turn a metric around without a trace. `what` names the losses in the error, which is
// INVALID_ARGUMENT with the index and the value; it is an error as well if there are none.
absl::Status CheckLosses(absl::string_view what, absl::Span<const double> losses);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_AVERAGE_LOSS_H_
