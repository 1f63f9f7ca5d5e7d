#ifndef TRAINER_QUEUE_REQUEST_QUEUE_H_
#define TRAINER_QUEUE_REQUEST_QUEUE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/optional.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "trainer/queue/change_notifier.h"
#include "trainer/queue/key_ring.h"
#include "trainer/queue/request_table.h"
#include "trainer/queue/sealed_folder.h"

namespace unlearn {

// The durable queue of deletion requests, below one state folder:
//
//   queue.db       what Get and List show; the payloads, each sealed with its request's own key
//   keys/          those keys, and the queue's own (it authenticates idempotency keys)
//   work/<id>/     what training keeps, sealed with the same key
//
// What was answered with OK is on the disk. No text of an item is ever stored unsealed. One
// process at a time. Thread-safe.
class RequestQueue {
 public:
  // Makes the folder (mode 0700) when it is missing; removes what a killed Submit left behind.
  // FAILED_PRECONDITION when another process has it open or a newer program made it.
  static absl::StatusOr<std::unique_ptr<RequestQueue>> Open(const std::string& state_folder);
  ~RequestQueue();
  RequestQueue(const RequestQueue&) = delete;
  RequestQueue& operator=(const RequestQueue&) = delete;

  // The request must have passed CheckSubmitRequest. Returns the request's id, which is random;
  // a second call with the same idempotency key returns the first one's, or ALREADY_EXISTS when
  // its other fields differ. On an error (RESOURCE_EXHAUSTED: full disk) nothing was accepted.
  absl::StatusOr<std::string> Submit(const v1::SubmitRequest& submit);

  absl::StatusOr<QueuedRequest> Get(const std::string& id) const;  // NOT_FOUND
  absl::StatusOr<std::vector<QueuedRequest>> List() const;         // oldest first
  // The oldest request that is to be trained.
  absl::StatusOr<absl::optional<QueuedRequest>> Next() const;
  // What is to be enforced or erased, oldest first: PUBLISHED, ENFORCED, and CANCELLED requests
  // whose text is still there.
  absl::StatusOr<std::vector<QueuedRequest>> AfterTraining() const;

  // FAILED_PRECONDITION when the request is not in `from` (any more), or when it is to be
  // cancelled while it is being published; INTERNAL for an illegal step.
  absl::Status Transition(const std::string& id, v1::RequestState from, v1::RequestState to,
                          const std::string& message = "");
  // Back to RECEIVED from FAILED or NEEDS_OPERATOR, at its old place in the order.
  absl::Status Retry(const std::string& id, const absl::optional<v1::TrainingSettings>& settings);
  // The point after which an EVALUATING request can no longer be cancelled; to be called before
  // the store is touched. Any transition ends it.
  absl::Status BeginPublishing(const std::string& id);
  absl::Status SetMessage(const std::string& id, const std::string& message);
  absl::Status SetOutcome(const std::string& id, uint64_t offset_version,
                          const std::map<std::string, double>& scores);
  // Kept in memory until the next transition: a killed training counts anew anyway.
  void UpdateProgress(const std::string& id, int step, int steps, double loss);

  // The submitted request with the settings that hold now. Secret. DATA_LOSS when the key is gone.
  absl::StatusOr<v1::SubmitRequest> Payload(const std::string& id) const;
  // The request's working files, with its key; without one (only Destroy works) after Erase.
  SealedFolder WorkFolder(const std::string& id) const;

  // Destroys the key, then the payload, in the database's pages, free list and write-ahead log.
  // Only for ENFORCED and CANCELLED requests. May be repeated after a crash half way.
  absl::Status Erase(const std::string& id);
  // Afterwards: ENFORCED becomes ERASED; a CANCELLED request counts as erased.
  absl::Status MarkErased(const std::string& id);
  // Names in keys/ and work/ that belong to no request that still has its text.
  absl::StatusOr<std::vector<std::string>> Orphans() const;
  absl::Status DestroyOrphan(const std::string& name);

  // Who wants to know of changes asks here.
  ChangeNotifier& changes() const { return changes_; }

 private:
  struct Progress {
    int step = 0;
    int steps = 0;
    double loss = 0;
  };

  RequestQueue(std::string folder, int lock_fd);
  absl::Status Prepare() ABSL_LOCKS_EXCLUDED(mutex_);
  // The row with the progress that is newer than it.
  absl::StatusOr<QueuedRequest> GetLocked(const std::string& id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddProgress(QueuedRequest* queued) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<v1::SubmitRequest> StoredPayload(const std::string& id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<absl::optional<std::string>> FindIdempotent(const std::string& mac,
                                                             const v1::SubmitRequest& submit) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string folder_;
  const int lock_fd_;
  const KeyRing keys_;
  std::shared_ptr<const SealingKey> own_key_;  // set once by Prepare

  mutable ChangeNotifier changes_;
  mutable absl::Mutex mutex_;  // never held while listeners are called
  std::unique_ptr<RequestTable> table_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Progress> progress_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace unlearn

#endif  // TRAINER_QUEUE_REQUEST_QUEUE_H_
