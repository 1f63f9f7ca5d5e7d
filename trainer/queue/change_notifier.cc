#include "trainer/queue/change_notifier.h"

#include <utility>
#include <vector>

namespace unlearn {

int64_t ChangeNotifier::AddListener(Listener listener) {
  absl::MutexLock lock(&mutex_);
  listeners_[next_listener_] = std::make_shared<const Listener>(std::move(listener));
  return next_listener_++;
}

void ChangeNotifier::RemoveListener(int64_t handle) {
  absl::MutexLock lock(&mutex_);
  listeners_.erase(handle);
}

int64_t ChangeNotifier::ChangeCount() const {
  absl::MutexLock lock(&mutex_);
  return changes_;
}

bool ChangeNotifier::WaitForChange(int64_t seen, absl::Time deadline) const {
  absl::MutexLock lock(&mutex_);
  const auto changed = [this, seen]()
                           ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return changes_ != seen; };
  return mutex_.AwaitWithDeadline(absl::Condition(&changed), deadline);
}

void ChangeNotifier::Changed(const std::string& request_id) {
  WakeAll();
  CallListeners(request_id);
}

void ChangeNotifier::Progressed(const std::string& request_id) { CallListeners(request_id); }

void ChangeNotifier::WakeAll() {
  absl::MutexLock lock(&mutex_);
  ++changes_;
}

void ChangeNotifier::CallListeners(const std::string& request_id) {
  std::vector<std::shared_ptr<const Listener>> listeners;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& listener : listeners_) listeners.push_back(listener.second);
  }
  for (const auto& listener : listeners) (*listener)(request_id);
}

}  // namespace unlearn
