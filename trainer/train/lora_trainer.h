#ifndef TRAINER_TRAIN_LORA_TRAINER_H_
#define TRAINER_TRAIN_LORA_TRAINER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/decoder.h"
#include "offset/text/tokenizer.h"
#include "proxy/upstream/upstream.h"
#include "trainer/objective/objective.h"
#include "trainer/train/encoded_item.h"
#include "trainer/train/offset_trainer.h"
#include "trainer/train/quality_gate.h"

namespace unlearn {

struct LoraTrainerOptions {
  std::string prompt_template = kDefaultPromptTemplate;
  std::string public_data;  // JSONL: the operator's probes, for the KL term; may be empty
  std::string refusals;     // a sentence a line, in M's language; empty: built-in English ones
  std::string objective = kDefaultObjective;
  int steps = 500;
  int forget_batch = 24;  // sequences of each step
  int keep_batch = 32;
  double learning_rate = 2e-3;
  int64_t rank = 16;
  double alpha = 1.0;  // of serving
  Margin margin;
  double forget_weight = 1.0;
  double keep_weight = 1.0;
  uint64_t seed = 1;
  int checkpoint_steps = 50;
  GateOptions gate;
};

// Trains a LoRA adapter on the pair's base with the objective evaluated on the ensemble's logits
// (δ-unlearning, equations 4 to 6): z = z_M + alpha · W (h_o - h_r), with z_M and h_r cached. `upstream`
// is asked only for what is not cached. Neither is owned where it is a pointer.
absl::StatusOr<std::unique_ptr<OffsetTrainer>> NewLoraTrainer(
    Upstream* upstream, std::shared_ptr<const Decoder> base,
    std::shared_ptr<const Tokenizer> tokenizer, const LoraTrainerOptions& options);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_LORA_TRAINER_H_
