#ifndef PROXY_UPSTREAM_GUARDED_UPSTREAM_H_
#define PROXY_UPSTREAM_GUARDED_UPSTREAM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "prometheus/registry.h"
#include "proto/unlearn/v1/manifest.pb.h"
#include "proxy/upstream/circuit_breaker.h"
#include "proxy/upstream/model_watch.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

class UpstreamGuard;

struct GuardOptions {
  CircuitBreaker::Options breaker;
  ModelWatch::Options watch;
  // A step that failed with UNAVAILABLE is tried once more after about this long; negative: never.
  // Where the server said how long to wait, after that, if it is no longer than the longest.
  absl::Duration retry_delay = absl::Milliseconds(100);
  absl::Duration longest_retry_delay = absl::Seconds(5);
  std::function<absl::Time()> now = absl::Now;  // of the breaker
};

// Any upstream, made robust against what its server does. Thread-safe; sessions may outlive it.
//
// After some failures in a row that speak of the server (UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL)
// new sessions are refused at once, until one that is let through succeeds (CircuitBreaker). A step
// that failed with UNAVAILABLE, and so has told nobody anything, is asked once more: in a new
// session, with the whole prefix. A Sample is not: who draws from it knows what has been used.
//
// Once it was told which model M is (Confirm), nothing is passed on that another one answered:
// whenever M's server may have been restarted, and now and then, M is asked public probe prompts,
// and while it is another model everything fails with FAILED_PRECONDITION (ModelWatch).
//
// A session's steps are handed on one at a time.
class GuardedUpstream : public Upstream {
 public:
  GuardedUpstream(std::unique_ptr<Upstream> upstream, const GuardOptions& options,
                  std::shared_ptr<prometheus::Registry> registry);
  ~GuardedUpstream() override;

  const UpstreamInfo& info() const override { return upstream_->info(); }
  // UNAVAILABLE while the server is spared, RESOURCE_EXHAUSTED while it wants to be,
  // FAILED_PRECONDITION while M is another model.
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override;
  absl::StatusOr<UpstreamInfo> Probe() override { return upstream_->Probe(); }
  int64_t connections() const override { return upstream_->connections(); }
  absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view text) override {
    return upstream_->Tokenize(text);
  }

  // ModelWatch::Confirm: whether M is that model, as far as is known.
  absl::Status Confirm(const v1::ModelFingerprint& expected) { return watch_->Confirm(expected); }

 private:
  const std::unique_ptr<Upstream> upstream_;
  const std::unique_ptr<ModelWatch> watch_;
  const std::shared_ptr<UpstreamGuard> guard_;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_GUARDED_UPSTREAM_H_
