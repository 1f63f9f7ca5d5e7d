#ifndef TRAINER_QUEUE_CHANGE_NOTIFIER_H_
#define TRAINER_QUEUE_CHANGE_NOTIFIER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace unlearn {

// Tells who waits that a deletion request changed, so that nobody polls. Thread-safe.
class ChangeNotifier {
 public:
  // Called after each change, progress included, on the thread that made it and without locks.
  // Must not block. It may still be running when RemoveListener returns.
  using Listener = std::function<void(const std::string& request_id)>;
  int64_t AddListener(Listener listener);
  void RemoveListener(int64_t handle);

  // Counts changes other than progress; for WaitForChange.
  int64_t ChangeCount() const;
  // Until ChangeCount() differs from `seen`, or the deadline. True when it differs.
  bool WaitForChange(int64_t seen, absl::Time deadline) const;

  // A state, a message or an outcome changed.
  void Changed(const std::string& request_id);
  // Only the progress changed: listeners are called, waiters are left asleep.
  void Progressed(const std::string& request_id);
  // Ends every WaitForChange as if something had changed.
  void WakeAll();

 private:
  void CallListeners(const std::string& request_id);

  mutable absl::Mutex mutex_;
  int64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t next_listener_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<int64_t, std::shared_ptr<const Listener>> listeners_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace unlearn

#endif  // TRAINER_QUEUE_CHANGE_NOTIFIER_H_
