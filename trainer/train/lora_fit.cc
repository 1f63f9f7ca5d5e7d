#include "trainer/train/lora_fit.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/safetensors.h"
#include "offset/model/tensor_io.h"
#include "trainer/objective/losses.h"
#include "trainer/train/logit_cache.h"
#include "trainer/train/model_rows.h"
#include "trainer/train/step_draw.h"

namespace unlearn {
namespace {

constexpr char kCheckpoint[] = "checkpoint";

// The cached rows of sequences one after another, with labels and sequence numbers.
ObjectiveRows CachedRows(const std::vector<const TrainingSequence*>& sequences) {
  std::vector<const ModelRows*> model;
  std::vector<int64_t> labels, sequence;
  for (size_t i = 0; i < sequences.size(); ++i) {
    model.push_back(&sequences[i]->model);
    for (const int32_t token : sequences[i]->item.answer) {
      labels.push_back(token);
      sequence.push_back(static_cast<int64_t>(i));
    }
  }
  ObjectiveRows rows;
  rows.model = ExpandRows(model);
  rows.labels = at::tensor(labels, at::TensorOptions(at::kLong));
  rows.sequence = at::tensor(sequence, at::TensorOptions(at::kLong));
  rows.sequences = static_cast<int64_t>(sequences.size());
  return rows;
}

at::Tensor ReferenceRows(const std::vector<const TrainingSequence*>& sequences) {
  std::vector<at::Tensor> rows;
  for (const TrainingSequence* sequence : sequences) rows.push_back(sequence->reference_hidden);
  return at::cat(rows, 0);
}

// Warms up over the first 5 %, then a cosine down to a fiftieth.
double RateScale(int step, int steps) {
  const double share = static_cast<double>(step) / steps;
  if (share < 0.05) return std::min(1.0, (share + 1.0 / steps) / 0.05);
  return 0.02 + 0.49 * (1 + std::cos(3.14159265358979 * (share - 0.05) / 0.95));
}

}  // namespace

LoraFit::LoraFit(const FitOptions& options, FitData data)
    : options_(options),
      data_(std::move(data)),
      head_covariance_(HeadCovariance(data_.base->head())) {}

absl::Status LoraFit::Run(SealedFolder& work,
                          const std::function<void(const TrainingProgress&)>& progress,
                          const std::function<bool()>& should_stop, LoraAdapter& adapter) const {
  for (auto& [name, tensor] : adapter.tensors()) tensor.set_requires_grad(true);
  AdamW::Options adam;
  adam.learning_rate = options_.learning_rate;
  AdamW optimizer(adapter.tensors(), adam);
  ASSIGN_OR_RETURN(const int first, Restore(work, optimizer));
  for (int step = first; step < options_.steps; ++step) {
    if (should_stop()) {
      RETURN_IF_ERROR(Save(optimizer, step, work));
      return absl::CancelledError("training was stopped");
    }
    ASSIGN_OR_RETURN(const double loss, Step(step, adapter, optimizer));
    progress({step + 1, options_.steps, loss, false});
    if ((step + 1) % options_.checkpoint_steps == 0) {
      RETURN_IF_ERROR(Save(optimizer, step + 1, work));
    }
  }
  for (auto& [name, tensor] : adapter.tensors()) tensor = tensor.detach();
  return absl::OkStatus();
}

absl::StatusOr<int> LoraFit::Restore(SealedFolder& work, AdamW& optimizer) const {
  if (!work.Has(kCheckpoint)) return 0;
  ASSIGN_OR_RETURN(std::string bytes, work.Read(kCheckpoint));
  ASSIGN_OR_RETURN(const auto file, SafetensorsFile::FromBytes(std::move(bytes), kCheckpoint));
  const auto signature = file->metadata().find("signature");
  // Other settings (a retry): the checkpoint is of another run.
  if (signature == file->metadata().end() || signature->second != data_.signature) return 0;
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, view] : file->tensors()) {
    ASSIGN_OR_RETURN(state[name], TensorFromView(name, view, at::kFloat));
  }
  RETURN_IF_ERROR(optimizer.Restore(state));
  const auto step = file->metadata().find("step");
  int first = 0;
  if (step == file->metadata().end() || !absl::SimpleAtoi(step->second, &first)) {
    return absl::DataLossError("the training checkpoint has no step");
  }
  return first;
}

absl::Status LoraFit::Save(const AdamW& optimizer, int step, SealedFolder& work) const {
  return work.Write(kCheckpoint, SerializeTensors(optimizer.State(), at::kFloat,
                                                  {{"step", absl::StrCat(step)},
                                                   {"signature", data_.signature}}));
}

absl::StatusOr<std::vector<TrainingSequence>> LoraFit::Bystanders(std::mt19937_64& random) const {
  std::vector<TrainingSequence> sequences;
  if (data_.bystander == nullptr) return sequences;
  for (int i = 0; i < options_.bystander_batch; ++i) {
    TrainingSequence sequence;
    ASSIGN_OR_RETURN(sequence.item, data_.bystander(random));
    sequences.push_back(std::move(sequence));
  }
  RETURN_IF_ERROR(FillReferenceHidden(*data_.base, sequences));
  return sequences;
}

absl::StatusOr<double> LoraFit::Step(int step, const LoraAdapter& adapter, AdamW& optimizer) const {
  StepDraw draw = DrawStep(*data_.set, {options_.forget_batch, options_.keep_batch}, options_.seed,
                           step, data_.earlier->size());
  ASSIGN_OR_RETURN(const std::vector<TrainingSequence> bystanders, Bystanders(draw.bystanders));
  std::vector<const LoraAdapter*> adapters;
  for (size_t i = 0; i < data_.earlier->size(); ++i) {
    if (draw.with_earlier[i]) adapters.push_back(&(*data_.earlier)[i]);
  }
  adapters.push_back(&adapter);
  const LoraStack stack = FuseAdapters(data_.base->config(), adapters);

  std::vector<const TrainingSequence*> all = draw.forget;
  all.insert(all.end(), draw.keep.begin(), draw.keep.end());
  for (const TrainingSequence& bystander : bystanders) all.push_back(&bystander);
  const at::Tensor hidden = AnswerRows(data_.base->Forward(PaddedTokens(all), stack), all);
  const at::Tensor difference = hidden - ReferenceRows(all);  // [answer tokens, hidden]

  const double keep_alpha = options_.alpha * options_.margin.keep_alpha;
  ObjectiveRows forget = CachedRows(draw.forget);
  const int64_t forget_tokens = forget.labels.size(0);
  forget.ensemble = forget.model + options_.alpha * options_.margin.forget_alpha *
                                       data_.base->Logits(difference.narrow(0, 0, forget_tokens));
  at::Tensor loss = data_.objective->ForgetLoss(forget) * options_.forget_weight;
  int64_t done = forget_tokens;
  if (!draw.keep.empty()) {
    ObjectiveRows keep = CachedRows(draw.keep);
    const int64_t keep_tokens = keep.labels.size(0);
    keep.ensemble =
        keep.model + keep_alpha * data_.base->Logits(difference.narrow(0, done, keep_tokens));
    loss = loss + data_.objective->KeepLoss(keep) * options_.keep_weight;
    done += keep_tokens;
  }
  if (!bystanders.empty()) {
    const at::Tensor shift = keep_alpha * difference.narrow(0, done, difference.size(0) - done);
    loss = loss + ShiftVarianceOfHidden(shift, head_covariance_) * options_.bystander_weight;
  }
  loss.backward();
  const double norm = optimizer.Step(RateScale(step, options_.steps));
  if (!std::isfinite(norm)) {
    return absl::InternalError(absl::StrCat("the gradient of step ", step,
                                            " is not finite; retry with a lower learning_rate"));
  }
  return loss.item<double>();
}

}  // namespace unlearn
