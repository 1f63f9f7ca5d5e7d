#ifndef PROXY_SERVER_VERSION_MANAGER_H_
#define PROXY_SERVER_VERSION_MANAGER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "offset/model/decoder.h"
#include "offset/store/version_store.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"
#include "proxy/scheduler/served_version.h"
#include "proxy/upstream/guarded_upstream.h"

namespace unlearn {

// Follows the store's active version: verifies and loads a new one beside the old, then swaps it in
// for new streams. A version that does not load is not served: the old one stays, and Status says
// why. When M is no longer the model that the version was made for, nothing is served. Thread-safe.
class VersionManager {
 public:
  struct Options {
    absl::Duration poll = absl::Milliseconds(50);  // of the store
    // Gets the pair ready for a version's stack, before its first stream. A version whose stack is
    // refused is not served.
    std::function<absl::Status(const std::shared_ptr<const LoraStack>&)> warm;
  };

  // The pair's fingerprint and the tokenizer's must be the manifest's.
  VersionManager(VersionStore* store, GuardedUpstream* upstream,
                 std::shared_ptr<const Decoder> base, std::string pair_fingerprint,
                 std::string tokenizer_fingerprint, const Options& options,
                 prometheus::Registry& registry);
  ~VersionManager();

  // The version for a new stream. UNAVAILABLE with the reason when there is none.
  absl::StatusOr<std::shared_ptr<const ServedVersion>> Current() const;

  // Another version than the active one, for an admin's pinned request. FAILED_PRECONDITION when it
  // lacks a request that the active one enforces.
  absl::StatusOr<std::shared_ptr<const ServedVersion>> Pinned(uint64_t version) const;

  // Versions no longer current that something still holds: a stream, or a request on its way to
  // becoming one.
  std::vector<uint64_t> RetiredInUse() const;

  // Why the store's active version is not the one served; OK when it is.
  absl::Status problem() const;

  // Looks at the store now instead of at the next poll.
  void Refresh();

  // Called (on the manager's thread or Refresh's) whenever serving begins or ends.
  void OnServingChange(std::function<void(bool serving)> callback);

 private:
  void Run();
  absl::StatusOr<std::shared_ptr<const ServedVersion>> LoadVersion(uint64_t version) const;
  void Publish(std::shared_ptr<const ServedVersion> current, absl::Status problem);

  VersionStore* const store_;
  GuardedUpstream* const upstream_;
  const std::shared_ptr<const Decoder> base_;
  const std::string pair_fingerprint_;
  const std::string tokenizer_fingerprint_;
  const Options options_;
  prometheus::Gauge& active_gauge_;
  prometheus::Gauge& problem_gauge_;
  prometheus::Counter& swaps_;

  absl::Mutex refresh_mutex_;  // one refresh at a time
  std::string seen_token_ ABSL_GUARDED_BY(refresh_mutex_);
  // The last version that was loaded; served while M is the model that it was made for.
  std::shared_ptr<const ServedVersion> loaded_ ABSL_GUARDED_BY(refresh_mutex_);
  absl::Status load_problem_ ABSL_GUARDED_BY(refresh_mutex_);  // of the active version

  mutable absl::Mutex mutex_;
  std::shared_ptr<const ServedVersion> current_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<const ServedVersion>> retired_ ABSL_GUARDED_BY(mutex_);
  absl::Status problem_ ABSL_GUARDED_BY(mutex_) = absl::UnavailableError("starting");
  std::function<void(bool)> on_change_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace unlearn

#endif  // PROXY_SERVER_VERSION_MANAGER_H_
