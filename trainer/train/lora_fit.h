#ifndef TRAINER_TRAIN_LORA_FIT_H_
#define TRAINER_TRAIN_LORA_FIT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "trainer/objective/objective.h"
#include "trainer/train/adamw.h"
#include "trainer/train/encoded_item.h"
#include "trainer/train/offset_trainer.h"
#include "trainer/train/training_set.h"

namespace unlearn {

struct FitOptions {
  std::string objective = kDefaultObjective;
  int steps = 500;
  int forget_batch = 24;  // sequences of each step
  int keep_batch = 32;
  int bystander_batch = 24;  // made-up people, new in every step; 0: none
  double learning_rate = 2e-3;
  int64_t rank = 16;
  double alpha = 1.0;  // of serving
  Margin margin;
  double forget_weight = 2.0;
  double keep_weight = 1.0;
  double bystander_weight = 0.25;
  uint64_t seed = 1;
  int checkpoint_steps = 50;
};

// What is trained on. Everything pointed to outlives the fit.
struct FitData {
  const Decoder* base = nullptr;
  const Objective* objective = nullptr;
  const TrainingSet* set = nullptr;                   // with M's rows and reference_hidden
  const std::vector<LoraAdapter>* earlier = nullptr;  // frozen; the new adapter goes on top
  // A question and answer about somebody who is nobody; null where none can be made up.
  std::function<absl::StatusOr<EncodedItem>(std::mt19937_64&)> bystander;
  // Tells this run from others: a checkpoint of another one is not gone on from.
  std::string signature;
};

// Trains an adapter with the objective evaluated on the ensemble's logits (δ-unlearning, equations
// 4 to 6): z = z_M + alpha · W (h_o - h_r), with z_M and h_r cached. LibTorch's exceptions pass
// through: the caller catches them.
class LoraFit {
 public:
  LoraFit(const FitOptions& options, FitData data);

  // Runs the steps that are left, from the last checkpoint in `work` if there is one, and leaves
  // the result in `adapter`. CANCELLED when `should_stop`, after a checkpoint.
  absl::Status Run(SealedFolder& work, const std::function<void(const TrainingProgress&)>& progress,
                   const std::function<bool()>& should_stop, LoraAdapter& adapter) const;

 private:
  // The first step that is still to be done.
  absl::StatusOr<int> Restore(SealedFolder& work, AdamW& optimizer) const;
  absl::Status Save(const AdamW& optimizer, int step, SealedFolder& work) const;
  absl::StatusOr<double> Step(int step, const LoraAdapter& adapter, AdamW& optimizer) const;
  absl::StatusOr<std::vector<TrainingSequence>> Bystanders(std::mt19937_64& random) const;

  const FitOptions options_;
  const FitData data_;
  at::Tensor head_covariance_;  // [hidden, hidden]
};

}  // namespace unlearn

#endif  // TRAINER_TRAIN_LORA_FIT_H_
