#include "trainer/queue/request_states.h"

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

struct Arrow {
  v1::RequestState from;
  v1::RequestState to;
};

constexpr Arrow kLegal[] = {
    {v1::RECEIVED, v1::TRAINING},
    {v1::RECEIVED, v1::CANCELLED},
    {v1::RECEIVED, v1::FAILED},
    {v1::TRAINING, v1::EVALUATING},
    {v1::TRAINING, v1::CANCELLED},
    {v1::TRAINING, v1::FAILED},
    {v1::TRAINING, v1::NEEDS_OPERATOR},
    // A killed evaluation goes on from the last checkpoint, which may be one of training; and the
    // active stack may change while a request is judged, so that it must be trained on the new one.
    {v1::EVALUATING, v1::TRAINING},
    {v1::EVALUATING, v1::PUBLISHED},
    {v1::EVALUATING, v1::CANCELLED},
    {v1::EVALUATING, v1::FAILED},
    {v1::EVALUATING, v1::NEEDS_OPERATOR},
    {v1::PUBLISHED, v1::ENFORCED},
    {v1::ENFORCED, v1::ERASED},
    {v1::FAILED, v1::RECEIVED},
    {v1::FAILED, v1::CANCELLED},
    {v1::NEEDS_OPERATOR, v1::RECEIVED},
    {v1::NEEDS_OPERATOR, v1::CANCELLED},
};

}  // namespace

bool IsLegalTransition(v1::RequestState from, v1::RequestState to) {
  for (const Arrow& arrow : kLegal) {
    if (arrow.from == from && arrow.to == to) return true;
  }
  return false;
}

absl::Status CheckTransition(v1::RequestState from, v1::RequestState to) {
  if (IsLegalTransition(from, to)) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("a deletion request cannot go from ",
                                          v1::RequestState_Name(from), " to ",
                                          v1::RequestState_Name(to)));
}

bool NeedsTraining(v1::RequestState state) {
  return state == v1::RECEIVED || state == v1::TRAINING || state == v1::EVALUATING;
}

bool IsLasting(v1::RequestState state) {
  return state == v1::ERASED || state == v1::CANCELLED || IsRetryable(state);
}

bool IsCancellable(v1::RequestState state) { return IsLegalTransition(state, v1::CANCELLED); }

bool IsRetryable(v1::RequestState state) { return IsLegalTransition(state, v1::RECEIVED); }

}  // namespace unlearn
