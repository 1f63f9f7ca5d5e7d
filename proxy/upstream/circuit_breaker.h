#ifndef PROXY_UPSTREAM_CIRCUIT_BREAKER_H_
#define PROXY_UPSTREAM_CIRCUIT_BREAKER_H_

#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace unlearn {

// Spares a server that fails again and again, and callers the wait for it. After `failures` in a
// row it is open: nobody is let through until a wait is over that doubles with each opening; then
// one is (half-open), whose success closes it and whose failure opens it again. Pure: told the
// time, without locks.
class CircuitBreaker {
 public:
  struct Options {
    int failures = 5;  // 0: never opens
    absl::Duration first_wait = absl::Seconds(1);
    absl::Duration longest_wait = absl::Minutes(1);
    // What a server may ask for (Retry-After) is honoured up to this.
    absl::Duration longest_retry_after = absl::Minutes(1);
    // In [0, 1): waits are between one and two halves of what they could be, so that many clients
    // do not come back at once.
    std::function<double()> random;
  };
  enum class State { kClosed = 0, kHalfOpen = 1, kOpen = 2 };

  explicit CircuitBreaker(Options options) : options_(std::move(options)) {}

  // Whether a new session may begin. `*trial`: it is the one that is let through half-open; what
  // comes of it must be told. UNAVAILABLE tells what failed last and how long to wait;
  // RESOURCE_EXHAUSTED that the server asked to be left alone.
  absl::Status Admit(absl::Time now, bool* trial);

  // The server answered a step that was sent at `sent`, or failed it. What was sent before the last
  // opening changes nothing any more.
  void Success(absl::Time sent);
  void Failure(absl::Time now, absl::Time sent, const absl::Status& status);
  // The trial ended and told nothing of the server.
  void GiveTrialBack();

  // The server asked to be left alone for so long.
  void Wait(absl::Time now, absl::Duration wait, const absl::Status& status);

  State state() const { return state_; }

 private:
  void Open(absl::Time now);

  Options options_;
  State state_ = State::kClosed;
  int in_a_row_ = 0;
  int openings_ = 0;  // since it was closed
  bool trial_ = false;
  absl::Status last_;
  absl::Time opened_ = absl::InfinitePast();
  absl::Time open_until_ = absl::InfinitePast();
  absl::Time wait_until_ = absl::InfinitePast();
  absl::Status asked_to_wait_;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_CIRCUIT_BREAKER_H_
