#ifndef TRAINER_LEDGER_ERASER_H_
#define TRAINER_LEDGER_ERASER_H_

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "trainer/queue/request_queue.h"

namespace unlearn {

// Erases everything of an ENFORCED or CANCELLED request but its adapter and its row: key, payload,
// working files. Thread-safe.
class Eraser {
 public:
  explicit Eraser(RequestQueue* queue) : queue_(queue) {}

  // The key goes first: after that one step nothing can be read any more, wherever copies are.
  // May be repeated after a crash or an error at any point; OK when the request is erased already.
  absl::Status Erase(const std::string& request_id);

 private:
  RequestQueue* const queue_;
  absl::Mutex mutex_;  // one at a time
};

}  // namespace unlearn

#endif  // TRAINER_LEDGER_ERASER_H_
