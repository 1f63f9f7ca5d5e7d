#ifndef TRAINER_QUEUE_REQUEST_TABLE_H_
#define TRAINER_QUEUE_REQUEST_TABLE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "trainer/queue/sqlite_database.h"

namespace unlearn {

struct QueuedRequest {
  v1::DeletionRequest request;
  // Its version may stand in the store already: too late to cancel.
  bool publishing = false;
  // Nothing of its text is left.
  bool erased = false;
};

// The rows of deletion requests in the database: what SQL there is stands here. Knows no keys and
// no rules. Not thread-safe.
class RequestTable {
 public:
  // Creates the schema in an empty database; FAILED_PRECONDITION for one that another version of
  // this program wrote.
  static absl::StatusOr<std::unique_ptr<RequestTable>> Open(const std::string& path);

  // A RECEIVED request and its sealed payload, in one transaction. `idempotency_mac` may be empty.
  absl::Status Insert(const std::string& id, const std::string& idempotency_mac,
                      const std::string& sealed_payload, const v1::SubmitRequest& submit);
  absl::StatusOr<QueuedRequest> Get(const std::string& id) const;  // NOT_FOUND
  absl::StatusOr<std::vector<QueuedRequest>> All() const;          // oldest first
  absl::StatusOr<absl::optional<QueuedRequest>> OldestToTrain() const;
  absl::StatusOr<std::vector<QueuedRequest>> AfterTraining() const;
  absl::StatusOr<absl::optional<std::string>> FindByIdempotencyMac(const std::string& mac) const;

  // Writes state, message, settings, progress, version, scores, publishing and erased of the
  // request, and the time of this change. NOT_FOUND when there is no such row.
  absl::Status Update(const QueuedRequest& queued);

  // NOT_FOUND when it was deleted.
  absl::StatusOr<std::string> SealedPayload(const std::string& id) const;
  // The bytes are overwritten in the file and gone from the write-ahead log.
  absl::Status DeletePayload(const std::string& id);

 private:
  explicit RequestTable(std::unique_ptr<SqliteDatabase> database, std::string path);
  absl::StatusOr<std::vector<QueuedRequest>> Select(const std::string& rest,
                                                    const std::string& parameter) const;

  const std::string path_;
  const std::unique_ptr<SqliteDatabase> database_;
};

}  // namespace unlearn

#endif  // TRAINER_QUEUE_REQUEST_TABLE_H_
