#ifndef TRAINER_TRAIN_OFFSET_TRAINER_H_
#define TRAINER_TRAIN_OFFSET_TRAINER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "trainer/queue/sealed_folder.h"

namespace unlearn {

struct TrainingJob {
  std::string request_id;
  v1::SubmitRequest request;  // forget and retain items; secret
  // Serialised adapters of the active stack, oldest first; the new one is trained on top of them.
  std::vector<std::string> stack;
};

struct TrainingProgress {
  int step = 0;
  int steps = 0;
  double loss = 0;
  bool evaluating = false;
};

struct TrainingOutcome {
  bool accepted = false;             // by the quality gate
  std::vector<std::string> reasons;  // of the refusal, without personal text
  std::map<std::string, double> scores;
  std::string adapter;  // serialised LoRA adapter (safetensors)
  int64_t rank = 0;
  double alpha = 0;
  std::string objective;
  uint64_t seed = 0;
};

// Trains one adapter for one request and judges it. Deterministic: the same job, settings and seed
// give the same adapter, also when a killed run goes on from what it left in `work`.
class OffsetTrainer {
 public:
  virtual ~OffsetTrainer() = default;

  // `work` keeps checkpoints and cached logits, sealed with the request's key. `progress` is called
  // between steps. `should_stop` is asked between steps; when it says yes the call returns
  // CANCELLED, leaving a checkpoint to go on from.
  virtual absl::StatusOr<TrainingOutcome> Train(
      const TrainingJob& job, SealedFolder& work,
      const std::function<void(const TrainingProgress&)>& progress,
      const std::function<bool()>& should_stop) = 0;
};

}  // namespace unlearn

#endif  // TRAINER_TRAIN_OFFSET_TRAINER_H_
