#ifndef TRAINER_QUEUE_REQUEST_STATES_H_
#define TRAINER_QUEUE_REQUEST_STATES_H_

#include "absl/status/status.h"
#include "proto/unlearn/v1/deletion.pb.h"

namespace unlearn {

// The one table of what may follow what in the life of a deletion request. Pure.
//
//   RECEIVED -> TRAINING <-> EVALUATING -> PUBLISHED -> ENFORCED -> ERASED
//
// FAILED and NEEDS_OPERATOR leave from the first three and go back to RECEIVED (retry); CANCELLED
// leaves from everything before PUBLISHED.
bool IsLegalTransition(v1::RequestState from, v1::RequestState to);

// OK, or INTERNAL naming both states: an illegal transition is a bug of the caller.
absl::Status CheckTransition(v1::RequestState from, v1::RequestState to);

// The trainer has work to do on such a request.
bool NeedsTraining(v1::RequestState state);

// Nothing changes any more without a person: ERASED, CANCELLED, FAILED, NEEDS_OPERATOR.
bool IsLasting(v1::RequestState state);

// May be cancelled: nothing of it is published.
bool IsCancellable(v1::RequestState state);

// May be trained again: FAILED, NEEDS_OPERATOR.
bool IsRetryable(v1::RequestState state);

}  // namespace unlearn

#endif  // TRAINER_QUEUE_REQUEST_STATES_H_
