#ifndef TRAINER_QUEUE_KEY_RING_H_
#define TRAINER_QUEUE_KEY_RING_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "offset/store/seal.h"

namespace unlearn {

// One key per deletion request, each a file of its own (mode 0600), outside the database and
// outside what is backed up with it: to destroy the key is to destroy every copy of the text.
// Thread-safe for different requests.
class KeyRing {
 public:
  // The folder is made (mode 0700) when the first key is.
  explicit KeyRing(std::string folder);

  // Durable when it returns: the file and the folder are fsynced. ALREADY_EXISTS for a second key.
  absl::StatusOr<std::shared_ptr<const SealingKey>> Create(const std::string& name) const;
  // NOT_FOUND when it was never made or is destroyed.
  absl::StatusOr<std::shared_ptr<const SealingKey>> Get(const std::string& name) const;
  bool Has(const std::string& name) const;
  // Overwrites and removes the key, and what a killed Create left of it. OK when there is none.
  absl::Status Destroy(const std::string& name) const;
  // Names of all keys, also of half-made ones.
  absl::StatusOr<std::vector<std::string>> Names() const;

 private:
  const std::string folder_;
};

}  // namespace unlearn

#endif  // TRAINER_QUEUE_KEY_RING_H_
