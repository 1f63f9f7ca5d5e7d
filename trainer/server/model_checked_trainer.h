#ifndef TRAINER_SERVER_MODEL_CHECKED_TRAINER_H_
#define TRAINER_SERVER_MODEL_CHECKED_TRAINER_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "offset/store/version_store.h"
#include "proxy/upstream/upstream.h"
#include "trainer/train/offset_trainer.h"

namespace unlearn {

// What the trainer was started with, to compare with the store's active version.
struct PairIdentity {
  std::string pair_fingerprint;
  std::string tokenizer_fingerprint;
};

// Trains only while M and the pair are those that the active version was made for: an adapter
// trained against another M would be published under a fingerprint that is not its own.
class ModelCheckedTrainer : public OffsetTrainer {
 public:
  // All must outlive this.
  ModelCheckedTrainer(OffsetTrainer* trainer, Upstream* upstream, const VersionStore* store,
                      PairIdentity pair);

  // OK, FAILED_PRECONDITION naming what differs, NOT_FOUND without an active version, or what M
  // answered (UNAVAILABLE).
  absl::Status Check();

  absl::StatusOr<TrainingOutcome> Train(
      const TrainingJob& job, SealedFolder& work,
      const std::function<void(const TrainingProgress&)>& progress,
      const std::function<bool()>& should_stop) override;

 private:
  OffsetTrainer* const trainer_;
  Upstream* const upstream_;
  const VersionStore* const store_;
  const PairIdentity pair_;
};

}  // namespace unlearn

#endif  // TRAINER_SERVER_MODEL_CHECKED_TRAINER_H_
