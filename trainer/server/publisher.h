#ifndef TRAINER_SERVER_PUBLISHER_H_
#define TRAINER_SERVER_PUBLISHER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "offset/store/version_store.h"
#include "proto/unlearn/v1/manifest.pb.h"
#include "trainer/train/offset_trainer.h"

namespace unlearn {

// What a request is trained on top of.
struct ActiveStack {
  v1::Manifest manifest;
  std::vector<std::string> adapters;  // plain bytes, oldest first; personal data
  // Equal for equal stacks, whatever version they stand in.
  std::string Fingerprint() const;
};

// NOT_FOUND when the store has no active version.
absl::StatusOr<ActiveStack> ReadActiveStack(const VersionStore& store);

// Publishes `base` with the outcome's adapter on top, enforcing base's requests and this one, and
// returns the version; does not activate it. ABORTED when the active stack is no longer `base`: the
// adapter was trained on top of something else. INTERNAL for an outcome that cannot be served.
absl::StatusOr<uint64_t> PublishAdapter(VersionStore& store, const ActiveStack& base,
                                        const std::string& request_id,
                                        const TrainingOutcome& outcome);

// Activates `version` unless the active version has the request in force already.
absl::Status EnsureActive(VersionStore& store, uint64_t version, const std::string& request_id);

}  // namespace unlearn

#endif  // TRAINER_SERVER_PUBLISHER_H_
