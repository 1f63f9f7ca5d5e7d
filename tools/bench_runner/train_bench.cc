#include "tools/bench_runner/train_bench.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "offset/model/torch_boundary.h"
#include "tools/bench_runner/bench_models.h"
#include "trainer/objective/losses.h"
#include "trainer/objective/objective.h"
#include "trainer/train/adamw.h"
#include "trainer/train/logit_cache.h"
#include "trainer/train/training_sequence.h"

namespace unlearn {
namespace {

constexpr int64_t kRank = 16;
constexpr int kPromptTokens = 20;
constexpr int kAnswerTokens = 20;

struct StepSizes {
  BenchModel model;
  BenchModel base;
  int forget = 0;  // sequences
  int keep = 0;
};

// One step's sequences, the adapter under training, and the three ways of taking the step.
class TrainingStep {
 public:
  static absl::StatusOr<std::unique_ptr<TrainingStep>> Make(const StepSizes& sizes) {
    auto step = std::unique_ptr<TrainingStep>(new TrainingStep(sizes));
    ASSIGN_OR_RETURN(step->objective_, MakeObjective(kDefaultObjective));
    std::mt19937_64 random(5);
    const auto tokens = [&](int count) {
      std::vector<int32_t> ids(count);
      for (int32_t& id : ids) id = static_cast<int32_t>(random() % sizes.base.config.vocab_size);
      return ids;
    };
    for (int i = 0; i < sizes.forget + sizes.keep; ++i) {
      TrainingSequence sequence;
      sequence.item = {tokens(kPromptTokens), tokens(kAnswerTokens)};
      step->sequences_.push_back(std::move(sequence));
    }
    RETURN_IF_ERROR(FillReferenceHidden(*step->base_, step->sequences_));
    for (TrainingSequence& sequence : step->sequences_) {
      step->all_.push_back(&sequence);
      c10::NoGradGuard no_grad;
      const at::Tensor rows = step->model_->Logits(
          AnswerRows(step->model_->Forward(PaddedTokens({&sequence}), LoraStack()), {&sequence}));
      sequence.model = ModelRows::FromLogits(rows);
    }
    return step;
  }

  const Decoder& model() const { return *model_; }
  const Decoder& base() const { return *base_; }

  // Forward and backward of the base with LoRA under the plain loss, no more.
  absl::Status Bare() {
    return Catch([&] {
      const LoraStack stack = FuseAdapters(base_->config(), {&adapter_});
      const at::Tensor logits =
          base_->Logits(AnswerRows(base_->Forward(PaddedTokens(all_), stack), all_));
      const at::Tensor loss = CrossEntropy(logits, Labels(0, all_.size()));
      loss.backward();
      for (auto& [name, tensor] : adapter_.tensors()) tensor.mutable_grad() = at::Tensor();
      return loss;
    });
  }

  // What LoraTrainer does in a step.
  absl::Status Cached() {
    return Catch([&] {
      const LoraStack stack = FuseAdapters(base_->config(), {&adapter_});
      std::vector<at::Tensor> references;
      std::vector<const ModelRows*> models;
      for (const TrainingSequence* sequence : all_) {
        references.push_back(sequence->reference_hidden);
        models.push_back(&sequence->model);
      }
      const at::Tensor hidden = AnswerRows(base_->Forward(PaddedTokens(all_), stack), all_);
      const at::Tensor delta = base_->Logits(hidden - at::cat(references, 0));
      return Finish(ExpandRows(models), delta);
    });
  }

  // M, the reference and the offset one after the other, logits of every position.
  absl::Status Naive() {
    return Catch([&] {
      const at::Tensor tokens = PaddedTokens(all_);
      at::Tensor model, reference;
      {
        c10::NoGradGuard no_grad;
        model = model_->Logits(model_->Forward(tokens, LoraStack()));
        reference = base_->Logits(base_->Forward(tokens, LoraStack()));
      }
      const LoraStack stack = FuseAdapters(base_->config(), {&adapter_});
      const at::Tensor delta = base_->Logits(base_->Forward(tokens, stack)) - reference;
      return Finish(AnswerRows(model, all_), AnswerRows(delta, all_));
    });
  }

  double loss() const { return loss_; }

  // For checks: from the same adapter both ways of the step give the same loss.
  void set_learning(bool learning) { learning_ = learning; }

 private:
  explicit TrainingStep(const StepSizes& sizes)
      : forget_(sizes.forget),
        model_(Decoder::Init(sizes.model.config, 1)),
        base_(Decoder::Init(sizes.base.config, 2)),
        adapter_(RandomAdapter(sizes.base.config, kRank, 3)) {
    for (auto& [name, tensor] : adapter_.tensors()) tensor.set_requires_grad(true);
    optimizer_ = std::make_unique<AdamW>(adapter_.tensors(), AdamW::Options());
  }

  template <typename Body>
  absl::Status Catch(const Body& body) {
    return CatchTorch("a training step", [&]() -> absl::Status {
      loss_ = body().template item<double>();
      if (std::isfinite(loss_)) return absl::OkStatus();
      return absl::InternalError("the loss is not finite");
    });
  }

  at::Tensor Labels(size_t begin, size_t end) const {
    std::vector<int64_t> labels;
    for (size_t i = begin; i < end; ++i) {
      labels.insert(labels.end(), all_[i]->item.answer.begin(), all_[i]->item.answer.end());
    }
    return at::tensor(labels, at::TensorOptions(at::kLong));
  }

  // The loss on the ensemble, backward, and the optimiser. model, delta: [answer tokens, vocab].
  at::Tensor Finish(const at::Tensor& model, const at::Tensor& delta) {
    const Margin margin;
    const int64_t forget_rows = static_cast<int64_t>(forget_) * kAnswerTokens;
    const int64_t keep_rows = delta.size(0) - forget_rows;
    ObjectiveRows forget;
    forget.model = model.narrow(0, 0, forget_rows);
    forget.ensemble = forget.model + margin.forget_alpha * delta.narrow(0, 0, forget_rows);
    forget.labels = Labels(0, forget_);
    ObjectiveRows keep;
    keep.model = model.narrow(0, forget_rows, keep_rows);
    keep.ensemble = keep.model + margin.keep_alpha * delta.narrow(0, forget_rows, keep_rows);
    keep.labels = Labels(forget_, all_.size());
    const at::Tensor loss = objective_->ForgetLoss(forget) + objective_->KeepLoss(keep);
    loss.backward();
    optimizer_->Step(learning_ ? 1.0 : 0.0);
    return loss;
  }

  const int forget_;
  const std::unique_ptr<Decoder> model_;
  const std::unique_ptr<Decoder> base_;
  LoraAdapter adapter_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<Objective> objective_;
  std::vector<TrainingSequence> sequences_;
  std::vector<const TrainingSequence*> all_;
  double loss_ = 0;
  bool learning_ = true;
};

absl::Status CompareSteps(const TrainBenchOptions& options, const StepSizes& sizes,
                          const ReportResult& report) {
  ASSIGN_OR_RETURN(const auto step, TrainingStep::Make(sizes));
  // Both ways of the step must give the same loss, or their times mean nothing.
  step->set_learning(false);
  RETURN_IF_ERROR(step->Cached());
  const double cached = step->loss();
  RETURN_IF_ERROR(step->Naive());
  if (!(std::abs(step->loss() - cached) <= 1e-3 * std::abs(cached))) {
    return absl::InternalError(
        absl::StrCat("the cached step's loss is ", cached, ", the naive step's ", step->loss()));
  }
  step->set_learning(true);
  ASSIGN_OR_RETURN(const RoundSeconds seconds, Compare({{"bare", [&] { return step->Bare(); }},
                                                        {"cached", [&] { return step->Cached(); }},
                                                        {"naive", [&] { return step->Naive(); }}},
                                                       options.compare));
  RoundSeconds ms = seconds;
  for (auto& rounds : ms) {
    for (double& value : rounds) value *= 1e3;
  }
  BenchResult result;
  result.bench = "train";
  AddSizes("M_", sizes.model, step->model(), result.sizes);
  AddSizes("base_", sizes.base, step->base(), result.sizes);
  result.sizes["dtype"] = "fp32";
  result.sizes["lora_rank"] = kRank;
  result.sizes["sequences"] = sizes.forget + sizes.keep;
  result.sizes["prompt_tokens"] = kPromptTokens;
  result.sizes["answer_tokens"] = kAnswerTokens;
  result.sizes["threads"] = at::get_num_threads();
  result.unit = "ms/step";
  result.figures = {{"bare forward and backward", SpreadOf(ms[0])},
                    {"cached step", SpreadOf(ms[1])},
                    {"naive three-model step", SpreadOf(ms[2])}};
  result.ratios = {{"cached / bare", RatioOf(ms[1], ms[0])},
                   {"naive / cached", RatioOf(ms[2], ms[1])}};
  report(result);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunTrainBench(const TrainBenchOptions& options, const ReportResult& report) {
  // The trainer's own batch: 24 sequences to forget and 32 to keep.
  std::vector<StepSizes> all = {{DemoModel(), DemoBase(), 24, 32},
                                {TenfoldModel(), DemoBase(), 24, 32}};
  if (options.large) all.push_back({LargeModel(), MiddleBase(), 4, 4});
  for (const StepSizes& sizes : all) RETURN_IF_ERROR(CompareSteps(options, sizes, report));
  return absl::OkStatus();
}

}  // namespace unlearn
