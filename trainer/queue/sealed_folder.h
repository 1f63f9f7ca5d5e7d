#ifndef TRAINER_QUEUE_SEALED_FOLDER_H_
#define TRAINER_QUEUE_SEALED_FOLDER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "offset/store/seal.h"

namespace unlearn {

// A request's working files, each sealed with the request's own key, so that destroying the key
// destroys them all, copies in backups included. Not thread-safe.
class SealedFolder {
 public:
  // The folder is made when the first file is written.
  SealedFolder(std::string path, std::shared_ptr<const SealingKey> key);

  // Replaces the file in one step. RESOURCE_EXHAUSTED on a full disk leaves the old one.
  absl::Status Write(const std::string& name, absl::string_view bytes);
  // NOT_FOUND when it was never written; DATA_LOSS when it was damaged.
  absl::StatusOr<std::string> Read(const std::string& name) const;
  bool Has(const std::string& name) const;
  absl::Status Remove(const std::string& name);
  // Overwrites and removes every file and the folder.
  absl::Status Destroy();

 private:
  std::string path_;
  std::shared_ptr<const SealingKey> key_;
};

}  // namespace unlearn

#endif  // TRAINER_QUEUE_SEALED_FOLDER_H_
