#include "proxy/upstream/circuit_breaker.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

std::string In(absl::Duration wait) {
  return absl::FormatDuration(absl::Ceil(wait, absl::Milliseconds(100)));
}

}  // namespace

absl::Status CircuitBreaker::Admit(absl::Time now, bool* trial) {
  *trial = false;
  if (now < wait_until_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("M's server asked to be left alone: ", asked_to_wait_.message(),
                     "; asked again in ", In(wait_until_ - now)));
  }
  if (state_ == State::kClosed) return absl::OkStatus();
  const auto refused = [&](absl::string_view when) {
    return absl::UnavailableError(absl::StrCat("M has failed ", in_a_row_,
                                               " times in a row, last: ", last_.message(),
                                               "; tried again ", when));
  };
  if (now < open_until_) return refused(absl::StrCat("in ", In(open_until_ - now)));
  if (trial_) return refused("right now, by another stream");
  state_ = State::kHalfOpen;
  trial_ = *trial = true;
  return absl::OkStatus();
}

void CircuitBreaker::Success(absl::Time sent) {
  if (state_ != State::kClosed && sent < opened_) return;
  state_ = State::kClosed;
  in_a_row_ = openings_ = 0;
  trial_ = false;
}

void CircuitBreaker::Failure(absl::Time now, absl::Time sent, const absl::Status& status) {
  if (state_ != State::kClosed && sent < opened_) return;
  // Streams that were under way when it opened may go on failing; they try nothing new.
  if (state_ == State::kOpen) return;
  last_ = status;
  ++in_a_row_;
  if (state_ == State::kHalfOpen || (options_.failures > 0 && in_a_row_ >= options_.failures)) {
    Open(now);
  }
}

void CircuitBreaker::Open(absl::Time now) {
  state_ = State::kOpen;
  trial_ = false;
  opened_ = now;
  absl::Duration wait = options_.first_wait;
  for (int i = 0; i < openings_ && wait < options_.longest_wait; ++i) wait *= 2;
  wait = std::min(wait, options_.longest_wait);
  ++openings_;
  const double random = options_.random ? options_.random() : 0;
  open_until_ = now + wait * (0.5 + 0.5 * random);
}

void CircuitBreaker::GiveTrialBack() {
  if (state_ != State::kHalfOpen) return;
  trial_ = false;
}

void CircuitBreaker::Wait(absl::Time now, absl::Duration wait, const absl::Status& status) {
  wait_until_ = std::max(wait_until_, now + std::min(wait, options_.longest_retry_after));
  asked_to_wait_ = status;
}

}  // namespace unlearn
