#ifndef PROXY_UPSTREAM_UPSTREAM_GUARD_H_
#define PROXY_UPSTREAM_UPSTREAM_GUARD_H_

#include <memory>
#include <optional>
#include <random>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"
#include "proxy/upstream/guarded_upstream.h"

namespace unlearn {

// What a GuardedUpstream's sessions share, and may keep longer than it lives. Thread-safe.
class UpstreamGuard {
 public:
  UpstreamGuard(Upstream* upstream, ModelWatch* watch, const GuardOptions& options,
                std::shared_ptr<prometheus::Registry> registry);
  // The upstream and the watch are going.
  void Close();

  // A session of the upstream, if it may be asked now. `*trial`: what comes of it decides, so it
  // must be judged or given back.
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession(bool* trial);
  void GiveTrialBack();

  absl::Time Now() const { return options_.now(); }
  // What a step that was sent at `sent` came to.
  void Judge(const absl::Status& status, absl::Time sent);
  // ModelWatch::MayPass.
  absl::StatusOr<bool> MayPass(ModelWatch::Released released);

  // When a step that failed so may be asked once more; none: never.
  std::optional<absl::Duration> RetryIn(const absl::Status& status);
  void CountRetry(bool answered) { (answered ? retries_answered_ : retries_failed_).Increment(); }

 private:
  void ShowState() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const GuardOptions options_;
  const std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Gauge& state_gauge_;
  prometheus::Family<prometheus::Counter>& failures_;
  prometheus::Counter& refused_;
  prometheus::Counter& retries_answered_;
  prometheus::Counter& retries_failed_;

  absl::Mutex closing_;  // held while one of these is used; taken before mutex_
  Upstream* upstream_ ABSL_GUARDED_BY(closing_);
  ModelWatch* watch_ ABSL_GUARDED_BY(closing_);

  absl::Mutex mutex_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  CircuitBreaker breaker_ ABSL_GUARDED_BY(mutex_);
};

// One session of an upstream, with what the guard does about it.
std::unique_ptr<UpstreamSession> NewGuardedSession(std::shared_ptr<UpstreamGuard> guard,
                                                   std::unique_ptr<UpstreamSession> session,
                                                   bool trial);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_UPSTREAM_GUARD_H_
