#ifndef TRAINER_TRAIN_LORA_TRAINER_H_
#define TRAINER_TRAIN_LORA_TRAINER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/decoder.h"
#include "offset/text/tokenizer.h"
#include "proxy/upstream/upstream.h"
#include "trainer/train/encoded_item.h"
#include "trainer/train/lora_fit.h"
#include "trainer/train/offset_trainer.h"
#include "trainer/train/quality_gate.h"

namespace unlearn {

struct LoraTrainerOptions : FitOptions {
  std::string prompt_template = kDefaultPromptTemplate;
  std::string public_data;  // JSONL: the operator's probes, for the KL term; may be empty
  std::string refusals;     // a sentence a line, in M's language; empty: built-in English ones
  GateOptions gate;
};

// Trains a LoRA adapter on the pair's base for each request and judges it. `upstream` is asked only
// for what is not cached; it is not owned.
absl::StatusOr<std::unique_ptr<OffsetTrainer>> NewLoraTrainer(
    Upstream* upstream, std::shared_ptr<const Decoder> base,
    std::shared_ptr<const Tokenizer> tokenizer, const LoraTrainerOptions& options);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_LORA_TRAINER_H_
