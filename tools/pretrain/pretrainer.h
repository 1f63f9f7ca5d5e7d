#ifndef TOOLS_PRETRAIN_PRETRAINER_H_
#define TOOLS_PRETRAIN_PRETRAINER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace unlearn {

struct PretrainOptions {
  // JSONL (question/answer or text) or plain text (.txt, cut into windows of the context).
  std::vector<std::string> data;
  std::string tokenizer;  // tokenizer.json; copied into `out`
  // model.json: an HF config.json (vocab_size is taken from the tokenizer). A folder instead: goes
  // on from that checkpoint's weights.
  std::string config;
  std::string out;  // HF folder to write; its .pretrain folder keeps the state to resume from
  std::string prompt_template;  // empty: the default
  double epochs = 10;
  int64_t batch_tokens = 4096;
  double learning_rate = 3e-3;
  double warmup = 0.05;  // share of the steps
  double weight_decay = 0.01;
  double question_weight = 0.1;  // of the loss on question tokens, beside 1 on answers
  std::string compute = "auto";  // bf16 where the processor has tiles for it, else fp32
  std::string save_dtype = "bf16";
  uint64_t seed = 1;
  int threads = 0;                               // 0: LibTorch's default
  double checkpoint_seconds = 30;                // between saves of the resumable state
  std::vector<std::string> training_data_names;  // recorded in the folder: what the model has seen
};

struct PretrainProgress {
  int64_t step = 0;
  int64_t steps = 0;
  double loss = 0;
  double tokens_per_second = 0;
};

// Trains a small model from scratch, or further, and writes it as an HF folder (config.json,
// model.safetensors, tokenizer.json). Interrupted, it goes on from its last checkpoint.
absl::Status Pretrain(const PretrainOptions& options,
                      const std::function<void(const PretrainProgress&)>& progress);

}  // namespace unlearn

#endif  // TOOLS_PRETRAIN_PRETRAINER_H_
