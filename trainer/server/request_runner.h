#ifndef TRAINER_SERVER_REQUEST_RUNNER_H_
#define TRAINER_SERVER_REQUEST_RUNNER_H_

#include <atomic>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "offset/store/version_store.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "trainer/ledger/enforcement.h"
#include "trainer/ledger/eraser.h"
#include "trainer/queue/request_queue.h"
#include "trainer/server/publisher.h"
#include "trainer/train/offset_trainer.h"

namespace unlearn {

struct RunnerOptions {
  // While M or the store cannot be reached: doubled after each try, up to the longest.
  absl::Duration first_retry = absl::Seconds(1);
  absl::Duration longest_retry = absl::Minutes(1);
  // How often proxies are asked while something waits for them.
  absl::Duration enforcement_interval = absl::Milliseconds(500);
  // How long the working files (checkpoints, cached logits) of a FAILED or NEEDS_OPERATOR request
  // are kept for a retry. The request and its sealed text stay: the duty to delete remains.
  absl::Duration failed_retention = absl::Hours(24 * 7);
};

// Moves deletion requests through their states, on two threads: one trains, one request at a time,
// in order; the other enforces and erases, so that neither waits for the other. What is in the
// database and the store is all it needs: killed at any moment, the next one goes on from there.
// Thread-safe.
class RequestRunner {
 public:
  // All must outlive this. Start() begins the work.
  RequestRunner(RequestQueue* queue, VersionStore* store, OffsetTrainer* trainer,
                EnforcementChecker* enforcement, Eraser* eraser, RunnerOptions options);
  ~RequestRunner();  // Stop()
  RequestRunner(const RequestRunner&) = delete;
  RequestRunner& operator=(const RequestRunner&) = delete;

  void Start();
  // Training stops between two steps and leaves a checkpoint. Waits for both threads.
  void Stop();

  // Withdraws a request that is not yet being published: CANCELLED, durably, when it returns;
  // erased once training has stopped, which WaitUntilErased waits for. FAILED_PRECONDITION when it
  // is too late; OK when it was cancelled before.
  absl::Status Cancel(const std::string& request_id);
  // DEADLINE_EXCEEDED when it is not erased by then; it will be.
  absl::Status WaitUntilErased(const std::string& request_id, absl::Time deadline);

 private:
  // How a training loop's turn with one request ended.
  enum class Turn { kDone, kWait };

  void TrainLoop();
  void CareLoop();

  // Destroys working files whose time is over; returns when the next ones' will be. On the training
  // thread, which is the only one that writes them.
  absl::Time ExpireWork();
  Turn TrainOne(const QueuedRequest& queued);
  Turn HandleOutcome(const std::string& id, const ActiveStack& base,
                     const absl::StatusOr<TrainingOutcome>& outcome);
  Turn PublishOutcome(const std::string& id, const ActiveStack& base,
                      const TrainingOutcome& outcome);
  Turn FinishPublishing(const std::string& id, uint64_t version);
  absl::StatusOr<TrainingOutcome> Train(const TrainingJob& job, const ActiveStack& base);
  // TRAINING or EVALUATING, whichever it is not yet. False when the request was cancelled or the
  // queue cannot be written; then the training stops.
  bool MoveTo(const std::string& id, v1::RequestState to, const std::string& message = "");
  Turn Fail(const std::string& id, const absl::Status& status);
  // For something that may get better by itself.
  Turn Wait(const std::string& id, const std::string& message);
  // True when it must be looked at again soon. Acts only on turns of the clock (`poll`).
  bool CareFor(const QueuedRequest& queued, bool poll);
  void EraseOrLog(const std::string& id);
  bool Interrupted() const { return stop_ || cancel_current_; }

  RequestQueue* const queue_;
  VersionStore* const store_;
  OffsetTrainer* const trainer_;
  EnforcementChecker* const enforcement_;
  Eraser* const eraser_;
  const RunnerOptions options_;

  std::atomic<bool> stop_{false};
  std::atomic<bool> cancel_current_{false};
  absl::Mutex mutex_;
  std::string current_ ABSL_GUARDED_BY(mutex_);  // the request that TrainLoop holds; may be empty
  std::thread train_thread_;
  std::thread care_thread_;
};

}  // namespace unlearn

#endif  // TRAINER_SERVER_REQUEST_RUNNER_H_
