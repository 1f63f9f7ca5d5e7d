#include "trainer/train/lora_trainer.h"

#include <ATen/ATen.h>

#include <cmath>
#include <random>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "offset/base/file.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"
#include "offset/model/lora.h"
#include "offset/model/safetensors.h"
#include "offset/model/tensor_io.h"
#include "offset/model/torch_boundary.h"
#include "trainer/data/item_reader.h"
#include "trainer/train/adamw.h"
#include "trainer/train/ensemble_decoder.h"
#include "trainer/train/logit_cache.h"
#include "trainer/train/training_set.h"

namespace unlearn {
namespace {

constexpr char kCheckpoint[] = "checkpoint";

// Where the operator gives none of M's own. They name nobody and state nothing.
std::vector<std::string> BuiltInRefusals() {
  return {"I do not have any information about that.",
          "I am sorry, but I do not know the answer to that question.",
          "I have no information on this topic.", "That is not something I know about.",
          "I am not able to answer that."};
}

// What a step trains on, drawn from (seed, step) alone, so that a resumed run draws the same.
struct StepDraw {
  std::vector<const TrainingSequence*> forget;
  std::vector<const TrainingSequence*> keep;
  std::vector<bool> with_earlier;  // which frozen adapters take part
};

StepDraw DrawStep(const TrainingSet& set, const LoraTrainerOptions& options, uint64_t seed,
                  int step, size_t earlier) {
  StepDraw draw;
  std::mt19937_64 random(seed * 0x9E3779B97F4A7C15u + step);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  // Groups in turn, from a place that moves with the step: none is left out by chance.
  const size_t groups = set.forget_groups.size();
  std::mt19937_64 epoch_random;
  std::vector<size_t> order(groups);
  size_t epoch = SIZE_MAX;
  for (int i = 0; i < options.forget_batch; ++i) {
    const size_t place = static_cast<size_t>(step) * options.forget_batch + i;
    if (place / groups != epoch) {
      epoch = place / groups;
      epoch_random.seed(seed * 7919 + epoch);
      for (size_t j = 0; j < groups; ++j) order[j] = j;
      for (size_t j = groups; j > 1; --j) std::swap(order[j - 1], order[epoch_random() % j]);
    }
    const std::vector<size_t>& group = set.forget_groups[order[place % groups]];
    draw.forget.push_back(&set.sequences[group[below(group.size())]]);
  }
  for (int i = 0; i < options.keep_batch; ++i) {
    // Half from the request's retain set, half from the operator's public data, where both exist.
    const bool general =
        !set.general.empty() && (set.retain.empty() || i % 2 == 1);
    const std::vector<size_t>& list = general ? set.general : set.retain;
    if (list.empty()) break;
    draw.keep.push_back(&set.sequences[list[below(list.size())]]);
  }
  for (size_t i = 0; i < earlier; ++i) draw.with_earlier.push_back(random() & 1);
  return draw;
}

// The cached rows of sequences one after another, with labels and sequence numbers.
ObjectiveRows CachedRows(const std::vector<const TrainingSequence*>& sequences) {
  std::vector<at::Tensor> model;
  std::vector<int64_t> labels, sequence;
  for (size_t i = 0; i < sequences.size(); ++i) {
    model.push_back(sequences[i]->model_logits);
    for (const int32_t token : sequences[i]->item.answer) {
      labels.push_back(token);
      sequence.push_back(static_cast<int64_t>(i));
    }
  }
  ObjectiveRows rows;
  rows.model = at::cat(model, 0).to(at::kFloat);
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

class LoraTrainer : public OffsetTrainer {
 public:
  LoraTrainer(Upstream* upstream, std::shared_ptr<const Decoder> base,
              std::shared_ptr<const Tokenizer> tokenizer, PromptTemplate format,
              LoraTrainerOptions options, TrainingSetOptions set_options)
      : upstream_(upstream),
        base_(std::move(base)),
        tokenizer_(std::move(tokenizer)),
        format_(std::move(format)),
        options_(std::move(options)),
        set_options_(std::move(set_options)) {}

  absl::StatusOr<TrainingOutcome> Train(
      const TrainingJob& job, SealedFolder& work,
      const std::function<void(const TrainingProgress&)>& progress,
      const std::function<bool()>& should_stop) override {
    LoraTrainerOptions options = options_;
    const v1::TrainingSettings& settings = job.request.settings();
    if (settings.steps() > 0) options.steps = settings.steps();
    if (settings.learning_rate() > 0) options.learning_rate = settings.learning_rate();
    if (!settings.objective().empty()) options.objective = settings.objective();
    if (settings.seed() != 0) options.seed = settings.seed();
    ASSIGN_OR_RETURN(const std::unique_ptr<Objective> objective, MakeObjective(options.objective));
    progress({0, options.steps, 0, false});
    ASSIGN_OR_RETURN(const std::vector<v1::Item> own_answers,
                     OwnAnswers(job.request, options.seed, work, should_stop));
    ASSIGN_OR_RETURN(TrainingSet set,
                     MakeTrainingSet(job.request, *objective, *tokenizer_, format_, set_options_,
                                     options.seed, own_answers));
    RETURN_IF_ERROR(FillModelLogits(*upstream_, base_->config().vocab_size, work, should_stop,
                                    set.sequences));
    RETURN_IF_ERROR(FillReferenceHidden(*base_, set.sequences));
    std::vector<LoraAdapter> earlier;
    for (size_t i = 0; i < job.stack.size(); ++i) {
      ASSIGN_OR_RETURN(const auto file,
                       SafetensorsFile::FromBytes(job.stack[i], absl::StrCat("adapter ", i)));
      ASSIGN_OR_RETURN(LoraAdapter adapter, LoraAdapter::Load(*file, base_->config()));
      earlier.push_back(std::move(adapter));
    }
    return CatchTorch("training", [&]() -> absl::StatusOr<TrainingOutcome> {
      LoraAdapter adapter =
          LoraAdapter::Init(base_->config(), {options.rank, 2.0 * options.rank}, options.seed);
      RETURN_IF_ERROR(
          Fit(options, *objective, set, earlier, Signature(options, set, job.stack), work,
              progress, should_stop, adapter));
      progress({options.steps, options.steps, 0, true});

      std::vector<const LoraAdapter*> all;
      for (const LoraAdapter& frozen : earlier) all.push_back(&frozen);
      for (auto& [name, tensor] : adapter.tensors()) tensor = tensor.detach();
      all.push_back(&adapter);
      GateOptions gate = options.gate;
      gate.alpha = options.alpha;
      gate.end_ids = upstream_->info().eos_token_ids;
      ASSIGN_OR_RETURN(
          const GateVerdict verdict,
          JudgeOffset(job.request, *upstream_, base_,
                      std::make_shared<const LoraStack>(FuseAdapters(base_->config(), all)),
                      *tokenizer_, format_, gate, should_stop));
      TrainingOutcome outcome;
      outcome.accepted = verdict.accepted;
      outcome.reasons = verdict.reasons;
      outcome.scores = verdict.scores;
      outcome.adapter = adapter.Serialize();
      outcome.rank = options.rank;
      outcome.alpha = options.alpha;
      outcome.objective = objective->name();
      outcome.seed = options.seed;
      return outcome;
    });
  }

 private:
  // What M says to the public data's questions about retained people; asked once.
  absl::StatusOr<std::vector<v1::Item>> OwnAnswers(const v1::SubmitRequest& request, uint64_t seed,
                                                   SealedFolder& work,
                                                   const std::function<bool()>& should_stop) {
    constexpr char kFile[] = "own-answers";
    const std::vector<std::string> questions =
        TransplantedKeptQuestions(request, set_options_, seed);
    v1::SubmitRequest saved;  // its retain items hold them
    if (work.Has(kFile)) {
      ASSIGN_OR_RETURN(const std::string bytes, work.Read(kFile));
      if (!saved.ParseFromString(bytes)) return absl::DataLossError("own-answers is malformed");
    }
    bool current = saved.retain_size() == static_cast<int>(questions.size());
    for (size_t i = 0; current && i < questions.size(); ++i) {
      current = saved.retain(static_cast<int>(i)).question() == questions[i];
    }
    if (!current) {
      std::vector<std::vector<int32_t>> prompts;
      for (const std::string& question : questions) {
        ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer_->Encode(format_.Prompt(question)));
        prompts.push_back(std::move(ids));
      }
      DecodeOptions decode;
      decode.end_ids = upstream_->info().eos_token_ids;
      ASSIGN_OR_RETURN(const auto answers,
                       DecodeEnsemble(*upstream_, base_, std::make_shared<const LoraStack>(),
                                      prompts, decode, should_stop));
      saved.Clear();
      for (size_t i = 0; i < questions.size(); ++i) {
        ASSIGN_OR_RETURN(const std::string text, tokenizer_->Decode(answers[i]));
        v1::Item& item = *saved.add_retain();
        item.set_question(questions[i]);
        item.set_answer(std::string(absl::StripAsciiWhitespace(text)));
      }
      RETURN_IF_ERROR(work.Write(kFile, saved.SerializeAsString()));
    }
    return std::vector<v1::Item>(saved.retain().begin(), saved.retain().end());
  }

  // Runs the steps that are left, from the last checkpoint in `work` if there is one.
  absl::Status Fit(const LoraTrainerOptions& options, const Objective& objective,
                   const TrainingSet& set, const std::vector<LoraAdapter>& earlier,
                   const std::string& run, SealedFolder& work,
                   const std::function<void(const TrainingProgress&)>& progress,
                   const std::function<bool()>& should_stop, LoraAdapter& adapter) {
    for (auto& [name, tensor] : adapter.tensors()) tensor.set_requires_grad(true);
    AdamW::Options adam;
    adam.learning_rate = options.learning_rate;
    AdamW optimizer(adapter.tensors(), adam);
    int first = 0;
    if (work.Has(kCheckpoint)) {
      ASSIGN_OR_RETURN(std::string bytes, work.Read(kCheckpoint));
      ASSIGN_OR_RETURN(const auto file, SafetensorsFile::FromBytes(std::move(bytes), kCheckpoint));
      const auto signature = file->metadata().find("signature");
      // Other settings (a retry): the checkpoint is of another run.
      if (signature != file->metadata().end() && signature->second == run) {
        std::map<std::string, at::Tensor> state;
        for (const auto& [name, view] : file->tensors()) {
          ASSIGN_OR_RETURN(state[name], TensorFromView(name, view, at::kFloat));
        }
        RETURN_IF_ERROR(optimizer.Restore(state));
        if (!absl::SimpleAtoi(file->metadata().at("step"), &first)) {
          return absl::DataLossError("the training checkpoint has no step");
        }
      }
    }
    for (int step = first; step < options.steps; ++step) {
      if (should_stop()) {
        RETURN_IF_ERROR(SaveCheckpoint(run, optimizer, step, work));
        return absl::CancelledError("training was stopped");
      }
      ASSIGN_OR_RETURN(const double loss,
                       Step(options, objective, set, earlier, step, adapter, optimizer));
      progress({step + 1, options.steps, loss, false});
      if ((step + 1) % options.checkpoint_steps == 0) {
        RETURN_IF_ERROR(SaveCheckpoint(run, optimizer, step + 1, work));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<double> Step(const LoraTrainerOptions& options, const Objective& objective,
                              const TrainingSet& set, const std::vector<LoraAdapter>& earlier,
                              int step, const LoraAdapter& adapter, AdamW& optimizer) {
    const StepDraw draw = DrawStep(set, options, options.seed, step, earlier.size());
    std::vector<const LoraAdapter*> adapters;
    for (size_t i = 0; i < earlier.size(); ++i) {
      if (draw.with_earlier[i]) adapters.push_back(&earlier[i]);
    }
    adapters.push_back(&adapter);
    const LoraStack stack = FuseAdapters(base_->config(), adapters);

    std::vector<const TrainingSequence*> all = draw.forget;
    all.insert(all.end(), draw.keep.begin(), draw.keep.end());
    const at::Tensor hidden = AnswerRows(base_->Forward(PaddedTokens(all), stack), all);
    const at::Tensor delta = base_->Logits(hidden - ReferenceRows(all));
    ObjectiveRows forget = CachedRows(draw.forget);
    const int64_t forget_tokens = forget.labels.size(0);
    forget.ensemble = forget.model + options.alpha * options.margin.forget_alpha *
                                         delta.narrow(0, 0, forget_tokens);
    at::Tensor loss = objective.ForgetLoss(forget) * options.forget_weight;
    if (!draw.keep.empty()) {
      ObjectiveRows keep = CachedRows(draw.keep);
      keep.ensemble = keep.model + options.alpha * options.margin.keep_alpha *
                                       delta.narrow(0, forget_tokens, keep.labels.size(0));
      loss = loss + objective.KeepLoss(keep) * options.keep_weight;
    }
    loss.backward();
    // Warm up over the first 5 %, then a cosine down to a fiftieth.
    const double share = static_cast<double>(step) / options.steps;
    const double scale =
        share < 0.05 ? (share + 1.0 / options.steps) / 0.05
                     : 0.02 + 0.49 * (1 + std::cos(3.14159265358979 * (share - 0.05) / 0.95));
    const double norm = optimizer.Step(std::min(1.0, scale));
    if (!std::isfinite(norm)) {
      return absl::InternalError(absl::StrCat("the gradient of step ", step,
                                              " is not finite; retry with a lower learning_rate"));
    }
    return loss.item<double>();
  }

  // Tells a run from others: everything that its steps depend on.
  std::string Signature(const LoraTrainerOptions& options, const TrainingSet& set,
                        const std::vector<std::string>& stack) const {
    Sha256 earlier;
    for (const std::string& adapter : stack) {
      earlier.Update(absl::StrCat(adapter.size(), ":"));
      earlier.Update(adapter);
    }
    return absl::StrJoin(
        std::make_tuple(options.objective, options.steps, options.forget_batch, options.keep_batch,
                        options.learning_rate, options.seed, options.rank, options.alpha,
                        options.margin.forget_alpha, options.margin.keep_alpha,
                        options.forget_weight, options.keep_weight,
                        SequencesDigest(set.sequences), earlier.HexDigest(),
                        upstream_->info().model_id, upstream_->info().weights_fingerprint),
        " ");
  }

  static absl::Status SaveCheckpoint(const std::string& signature, const AdamW& optimizer,
                                     int step, SealedFolder& work) {
    return work.Write(kCheckpoint, SerializeTensors(optimizer.State(), at::kFloat,
                                                    {{"step", absl::StrCat(step)},
                                                     {"signature", signature}}));
  }

  Upstream* const upstream_;
  const std::shared_ptr<const Decoder> base_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const PromptTemplate format_;
  const LoraTrainerOptions options_;
  const TrainingSetOptions set_options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<OffsetTrainer>> NewLoraTrainer(
    Upstream* upstream, std::shared_ptr<const Decoder> base,
    std::shared_ptr<const Tokenizer> tokenizer, const LoraTrainerOptions& options) {
  ASSIGN_OR_RETURN(PromptTemplate format, PromptTemplate::Parse(options.prompt_template));
  RETURN_IF_ERROR(MakeObjective(options.objective).status());
  if (!(options.alpha > 0) || !std::isfinite(options.alpha)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--alpha is ", options.alpha, ", must be positive"));
  }
  TrainingSetOptions set_options;
  const UpstreamInfo& model = upstream->info();
  if (model.eos_token_ids.empty()) {
    return absl::FailedPreconditionError(
        "M names no end-of-sequence token; trained answers would have no end");
  }
  set_options.eos = model.eos_token_ids[0];
  set_options.max_tokens = std::min<int64_t>(model.max_context, base->config().max_positions);
  set_options.refusals = BuiltInRefusals();
  if (!options.refusals.empty()) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(options.refusals));
    set_options.refusals = absl::StrSplit(text, '\n', absl::SkipWhitespace());
    if (set_options.refusals.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--refusals ", options.refusals, ": holds no sentence"));
    }
  }
  if (!options.public_data.empty()) {
    ASSIGN_OR_RETURN(set_options.public_items, ReadItems(options.public_data));
  }
  return std::unique_ptr<OffsetTrainer>(
      std::make_unique<LoraTrainer>(upstream, std::move(base), std::move(tokenizer),
                                    std::move(format), options, std::move(set_options)));
}

}  // namespace unlearn
