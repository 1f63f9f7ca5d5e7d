#include "tools/pretrain/pretrainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/tensor_io.h"
#include "offset/model/torch_boundary.h"
#include "offset/text/tokenizer.h"
#include "offset/text/tokenizer_files.h"
#include "tools/pretrain/pretrain_data.h"
#include "trainer/train/adamw.h"
#include "trainer/train/encoded_item.h"

namespace unlearn {
namespace {

// Mixed precision for the matrix products of a forward pass; weights and sums stay fp32.
class Bf16Scope {
 public:
  explicit Bf16Scope(bool enabled) : enabled_(enabled) {
    if (!enabled_) return;
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~Bf16Scope() {
    if (!enabled_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
  }

 private:
  const bool enabled_;
};

// Whether the processor has tiles for bf16 (AMX). The vector instructions alone gain less than
// the conversions around each small product cost: half the speed of fp32 was measured without
// tiles.
bool MultipliesBf16() {
#if defined(__x86_64__)
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  constexpr unsigned int kAmxBf16 = 1u << 22;  // of EDX, leaf 7
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kAmxBf16) != 0;
#else
  return false;
#endif
}

// tokens [batch, length] and weights [batch, length]: the loss weight of predicting the token
// at each position (0 for padding and for the first token).
struct Batch {
  at::Tensor tokens;
  at::Tensor weights;
  int64_t count = 0;
};

Batch MakeBatch(const std::vector<EncodedItem>& items, const std::vector<size_t>& indices,
                double question_weight) {
  size_t longest = 0;
  for (const size_t i : indices) {
    longest = std::max(longest, items[i].prompt.size() + items[i].answer.size());
  }
  const int64_t rows = indices.size();
  Batch batch;
  batch.tokens = at::zeros({rows, static_cast<int64_t>(longest)}, at::TensorOptions(at::kLong));
  batch.weights = at::zeros({rows, static_cast<int64_t>(longest)}, at::TensorOptions(at::kFloat));
  for (int64_t row = 0; row < rows; ++row) {
    const EncodedItem& item = items[indices[row]];
    int64_t* tokens = batch.tokens.data_ptr<int64_t>() + row * longest;
    float* weights = batch.weights.data_ptr<float>() + row * longest;
    size_t at = 0;
    for (const int32_t token : item.prompt) {
      weights[at] = at == 0 ? 0 : static_cast<float>(question_weight);
      tokens[at++] = token;
    }
    for (const int32_t token : item.answer) {
      weights[at] = at == 0 ? 0 : 1;
      tokens[at++] = token;
    }
    batch.count += at;
  }
  return batch;
}

at::Tensor WeightedLoss(const Decoder& decoder, const Batch& batch) {
  const int64_t length = batch.tokens.size(1);
  const at::Tensor inputs = batch.tokens.narrow(1, 0, length - 1);
  const at::Tensor targets = batch.tokens.narrow(1, 1, length - 1).reshape(-1);
  const at::Tensor weights = batch.weights.narrow(1, 1, length - 1).reshape(-1);
  const at::Tensor wanted = weights.nonzero().squeeze(1);
  const at::Tensor hidden = decoder.Forward(inputs, LoraStack());
  const at::Tensor kept = hidden.reshape({-1, hidden.size(-1)}).index_select(0, wanted);
  const at::Tensor losses = at::cross_entropy_loss(
      decoder.Logits(kept), targets.index_select(0, wanted), {}, at::Reduction::None);
  const at::Tensor kept_weights = weights.index_select(0, wanted);
  return (losses * kept_weights).sum() / kept_weights.sum();
}

double LearningRateScale(int64_t step, int64_t steps, double warmup) {
  const double share = static_cast<double>(step) / steps;
  if (share < warmup) return (step + 1) / std::max(1.0, warmup * steps);
  constexpr double kPi = 3.14159265358979323846;
  return 0.02 + 0.98 * 0.5 * (1 + std::cos(kPi * (share - warmup) / (1 - warmup)));
}

absl::StatusOr<std::map<std::string, at::Tensor>> ReadState(const SafetensorsFile& file) {
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, view] : file.tensors()) {
    ASSIGN_OR_RETURN(state[name], TensorFromView(name, view, at::kFloat));
  }
  return state;
}

// `seen`: what the model has been trained on before, by its folder.
absl::StatusOr<std::unique_ptr<Decoder>> MakeModel(const PretrainOptions& options,
                                                   const Tokenizer& tokenizer,
                                                   std::vector<std::string>& seen) {
  if (FileExists(JoinPath(options.config, "config.json"))) {
    ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(options.config));
    seen = checkpoint->training_data();
    return Decoder::Load(*checkpoint, at::kFloat);
  }
  ASSIGN_OR_RETURN(const std::string text, ReadFile(options.config));
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(options.config, ": is no JSON object"));
  }
  json["vocab_size"] = tokenizer.vocab_size();
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(json.dump(), options.config));
  return Decoder::Init(config, options.seed);
}

absl::Status WriteModel(const PretrainOptions& options, const Decoder& decoder,
                        std::vector<std::string> seen) {
  const at::ScalarType dtype = options.save_dtype == "fp32" ? at::kFloat : at::kBFloat16;
  RETURN_IF_ERROR(MakeFolders(options.out, 0755));
  RETURN_IF_ERROR(CopyTokenizerFiles(options.tokenizer, options.out));
  RETURN_IF_ERROR(WriteFileAtomically(
      JoinPath(options.out, "model.safetensors"),
      SerializeTensors(decoder.NamedWeights(), dtype, {{"format", "pt"}}), 0644));
  nlohmann::json config = nlohmann::json::parse(
      ModelConfigToJson(decoder.config(), dtype == at::kFloat ? "float32" : "bfloat16"));
  // What the model has seen: a pair's base must not have seen what is to be forgotten.
  const std::vector<std::string>& now =
      options.training_data_names.empty() ? options.data : options.training_data_names;
  for (const std::string& name : now) {
    if (std::find(seen.begin(), seen.end(), name) == seen.end()) seen.push_back(name);
  }
  config["unlearn_training_data"] = seen;
  return WriteFileAtomically(JoinPath(options.out, "config.json"), config.dump(2) + "\n", 0644);
}

}  // namespace

absl::Status Pretrain(const PretrainOptions& options,
                      const std::function<void(const PretrainProgress&)>& progress) {
  return CatchTorch("pretraining", [&]() -> absl::Status {
    if (options.threads > 0) at::set_num_threads(options.threads);
    ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(options.tokenizer));
    ASSIGN_OR_RETURN(
        const PromptTemplate format,
        PromptTemplate::Parse(options.prompt_template.empty() ? kDefaultPromptTemplate
                                                              : options.prompt_template));
    std::vector<std::string> seen;
    ASSIGN_OR_RETURN(const std::unique_ptr<Decoder> decoder, MakeModel(options, *tokenizer, seen));
    const ModelConfig& config = decoder->config();
    if (config.eos_token_ids.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(options.config, ": $.eos_token_id is missing; answers need an end"));
    }
    ASSIGN_OR_RETURN(const std::vector<EncodedItem> items,
                     ReadPretrainData(options.data, *tokenizer, format, config.eos_token_ids[0],
                                      config.max_positions));
    std::map<std::string, at::Tensor> parameters;
    for (const at::Tensor& parameter : decoder->Parameters()) {
      at::Tensor(parameter).set_requires_grad(true);
      parameters[absl::StrCat(1000 + parameters.size())] = parameter;
    }
    AdamW::Options adam;
    adam.learning_rate = options.learning_rate;
    adam.weight_decay = options.weight_decay;
    adam.beta2 = 0.98;
    AdamW optimizer(parameters, adam);

    const int64_t per_epoch = EpochBatches(items, options.batch_tokens, options.seed, 0).size();
    const int64_t steps = std::max<int64_t>(1, std::llround(options.epochs * per_epoch));
    const std::string state_folder = JoinPath(options.out, ".pretrain");
    const std::string state_path = JoinPath(state_folder, "state.safetensors");
    int64_t step = 0;
    if (FileExists(state_path)) {
      ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(state_path));
      ASSIGN_OR_RETURN(const auto state, ReadState(*file));
      RETURN_IF_ERROR(optimizer.Restore(state));
      const auto saved = file->metadata().find("step");
      if (saved == file->metadata().end() || !absl::SimpleAtoi(saved->second, &step)) {
        return absl::DataLossError(
            absl::StrCat(state_path, ": has no step; remove it to start over"));
      }
    }
    const auto save_state = [&]() -> absl::Status {
      RETURN_IF_ERROR(MakeFolders(state_folder, 0755));
      return WriteFileAtomically(
          state_path,
          SerializeTensors(optimizer.State(), at::kFloat, {{"step", absl::StrCat(step)}}), 0644);
    };
    const bool bf16 = options.compute == "bf16" || (options.compute == "auto" && MultipliesBf16());
    absl::Time saved = absl::Now();
    absl::Time reported = saved;
    int64_t tokens = 0;
    std::vector<std::vector<size_t>> batches;
    for (int64_t epoch = -1; step < steps; ++step) {
      if (step / per_epoch != epoch) {
        epoch = step / per_epoch;
        batches = EpochBatches(items, options.batch_tokens, options.seed, epoch);
        // Shuffling moves batch borders by an item or two; the count of steps stays fixed.
        while (static_cast<int64_t>(batches.size()) < per_epoch) batches.push_back(batches.front());
      }
      const Batch batch = MakeBatch(items, batches[step % per_epoch], options.question_weight);
      at::Tensor loss;
      {
        Bf16Scope scope(bf16);
        loss = WeightedLoss(*decoder, batch);
      }
      loss.backward();
      const double norm = optimizer.Step(LearningRateScale(step, steps, options.warmup));
      if (!std::isfinite(norm)) {
        return absl::InternalError(
            absl::StrCat("step ", step, ": the gradient is not finite; lower --learning_rate"));
      }
      tokens += batch.count;
      const absl::Time now = absl::Now();
      if (now - reported > absl::Seconds(1) || step + 1 == steps) {
        progress({step + 1, steps, loss.item<double>(),
                  tokens / std::max(1e-9, absl::ToDoubleSeconds(now - reported))});
        reported = now;
        tokens = 0;
      }
      if (now - saved > absl::Seconds(options.checkpoint_seconds)) {
        ++step;
        RETURN_IF_ERROR(save_state());
        --step;
        saved = now;
      }
    }
    RETURN_IF_ERROR(WriteModel(options, *decoder, seen));
    return ShredFolder(state_folder);
  });
}

}  // namespace unlearn
