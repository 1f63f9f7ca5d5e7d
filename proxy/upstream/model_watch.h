#ifndef PROXY_UPSTREAM_MODEL_WATCH_H_
#define PROXY_UPSTREAM_MODEL_WATCH_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "prometheus/counter.h"
#include "prometheus/registry.h"
#include "proto/unlearn/v1/manifest.pb.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// Keeps asking whether M is still the model that is expected: on a thread of its own, now and then,
// and whenever its server may have been restarted. What M answered over a connection that nobody
// has asked yet is held back until it is known who answered. Thread-safe.
class ModelWatch {
 public:
  struct Options {
    absl::Duration every = absl::Hours(1);
    // Of one question; and a check that failed is tried again after a second, two, four... of this
    // at most.
    absl::Duration timeout = absl::Seconds(120);
    absl::Duration longest_wait = absl::Seconds(10);
  };
  using Released = absl::AnyInvocable<void(const absl::Status&)>;

  // Idle until something is expected. `upstream` outlives it.
  ModelWatch(Upstream* upstream, const Options& options, prometheus::Registry& registry);
  // What is held back is released with UNAVAILABLE.
  ~ModelWatch();

  // OK when M was found to be `expected` and has not been found another one since. Asks M, and
  // waits, the first time only; then tells what is known. FAILED_PRECONDITION: another model; or
  // why M could not be asked. An empty fingerprint: only what Probe tells is compared.
  absl::Status Confirm(const v1::ModelFingerprint& expected);

  // Whether an answer that has just come may be passed on. False: `released` will be called, once,
  // on the watch's thread, with OK or the reason why it may not. FAILED_PRECONDITION as in Confirm.
  absl::StatusOr<bool> MayPass(Released released);

  // OK, or FAILED_PRECONDITION: M is another model.
  absl::Status verdict() const;

 private:
  struct Held {
    int64_t connections;
    Released released;
  };

  void Run();
  bool Due() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Check(const v1::ModelFingerprint& expected);
  absl::StatusOr<UpstreamLogits> Ask(UpstreamSession& session, UpstreamStep step);
  void Take(const absl::Status& status, int64_t connections) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Those that came over connections up to that one.
  void Release(int64_t connections, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Upstream* const upstream_;
  const Options options_;
  prometheus::Counter& same_;
  prometheus::Counter& another_;
  prometheus::Counter& failed_;

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<v1::ModelFingerprint> expected_ ABSL_GUARDED_BY(mutex_);
  std::string expected_bytes_ ABSL_GUARDED_BY(mutex_);
  bool wanted_ ABSL_GUARDED_BY(mutex_) = false;     // a check, now
  bool checked_ ABSL_GUARDED_BY(mutex_) = false;    // expected_ was compared, or M not to be asked
  absl::Status last_ ABSL_GUARDED_BY(mutex_);       // of the last check
  bool confirmed_ ABSL_GUARDED_BY(mutex_) = false;  // once since expected_ was set
  absl::Status verdict_ ABSL_GUARDED_BY(mutex_);
  int64_t known_connections_ ABSL_GUARDED_BY(mutex_) = -1;  // M was M over them
  int failures_ ABSL_GUARDED_BY(mutex_) = 0;                // in a row
  absl::Time next_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  std::vector<Held> held_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_MODEL_WATCH_H_
