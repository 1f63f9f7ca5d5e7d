#ifndef TOOLS_CLI_MODEL_HANDLERS_H_
#define TOOLS_CLI_MODEL_HANDLERS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/cli/output.h"

namespace unlearn {

// Options of the commands that run a model. They are read without LibTorch, whose start costs more
// than most commands: `unlearn` checks them and hands over to `unlearn_models`, which reads them
// again and does the work.

struct OffsetInitOptions {
  std::string store;
  std::string store_key_file;
  std::string upstream;
  std::string upstream_tls_ca;
  std::string upstream_tls_cert;
  std::string upstream_tls_key;
  std::string upstream_token_file;
  std::string upstream_dtype = "auto";
  std::vector<int32_t> upstream_eos_ids;
  int32_t upstream_max_context = 0;
  std::string pair;
  double alpha = 1.0;
  bool json = false;
};

struct LogitsOptions {
  std::string model;
  std::vector<int32_t> token_ids;
  std::string dtype = "fp32";
  int64_t last = 0;  // positions; 0: all
  bool json = false;
};

struct TruncateOptions {
  std::string model;
  std::string out;
  int64_t layers = 0;
  bool json = false;
};

struct PretrainFlags {
  std::vector<std::string> data;
  std::string tokenizer;
  std::string config;
  std::string out;
  std::string prompt_template;
  double epochs = 10;
  int64_t batch_tokens = 4096;
  double learning_rate = 3e-3;
  double warmup = 0.05;
  double weight_decay = 0.01;
  double question_weight = 0.1;
  std::string compute = "auto";
  std::string save_dtype = "bf16";
  uint64_t seed = 1;
  int threads = 0;
  double checkpoint_seconds = 30;
  std::vector<std::string> training_data_names;
  bool json = false;
};

struct ModelHandlers {
  std::function<absl::Status(const OffsetInitOptions&, Console&)> offset_init;
  std::function<absl::Status(const LogitsOptions&, Console&)> logits;
  std::function<absl::Status(const PretrainFlags&, Console&)> pretrain;
  std::function<absl::Status(const TruncateOptions&, Console&)> truncate;
};

}  // namespace unlearn

#endif  // TOOLS_CLI_MODEL_HANDLERS_H_
