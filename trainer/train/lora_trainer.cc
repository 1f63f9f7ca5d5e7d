#include "trainer/train/lora_trainer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "offset/base/file.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"
#include "offset/model/lora.h"
#include "offset/model/safetensors.h"
#include "offset/model/torch_boundary.h"
#include "trainer/data/item_reader.h"
#include "trainer/train/bystanders.h"
#include "trainer/train/logit_cache.h"
#include "trainer/train/own_answers.h"
#include "trainer/train/top_figures.h"
#include "trainer/train/training_set.h"

namespace unlearn {
namespace {

// Where the operator gives none of M's own. They name nobody and state nothing.
std::vector<std::string> BuiltInRefusals() {
  return {"I do not have any information about that.",
          "I am sorry, but I do not know the answer to that question.",
          "I have no information on this topic.", "That is not something I know about.",
          "I am not able to answer that."};
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
    ASSIGN_OR_RETURN(
        const std::vector<v1::Item> own_answers,
        AskOwnAnswers(TransplantedKeptQuestions(job.request, set_options_, options.seed),
                      *upstream_, base_, *tokenizer_, format_, work, should_stop));
    ASSIGN_OR_RETURN(TrainingSet set, MakeTrainingSet(job.request, *objective, *tokenizer_, format_,
                                                      set_options_, options.seed, own_answers));
    const int64_t columns = base_->config().vocab_size;
    RETURN_IF_ERROR(FillModelRows(*upstream_,
                                  {columns, std::min<int64_t>(columns, tokenizer_->vocab_size())},
                                  work, should_stop, set.sequences));
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
      FitData data = {base_.get(), objective.get(), &set,
                      &earlier,    nullptr,         Signature(options, set, job.stack)};
      const Bystanders bystanders(job.request, set_options_.public_items);
      if (!bystanders.empty()) {
        data.bystander = [&](std::mt19937_64& random) {
          const QuestionAnswer drawn = bystanders.Draw(random);
          return EncodeItem(*tokenizer_, format_, drawn.question, drawn.answer, set_options_.eos);
        };
      }
      RETURN_IF_ERROR(LoraFit(options, std::move(data)).Run(work, progress, should_stop, adapter));
      progress({options.steps, options.steps, 0, true});

      std::vector<const LoraAdapter*> all;
      for (const LoraAdapter& frozen : earlier) all.push_back(&frozen);
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
      AddTopScores(set, outcome.scores);
      outcome.adapter = adapter.Serialize();
      outcome.rank = options.rank;
      outcome.alpha = options.alpha;
      outcome.objective = objective->name();
      outcome.seed = options.seed;
      return outcome;
    });
  }

 private:
  // What of M's law training had to guess.
  void AddTopScores(const TrainingSet& set, std::map<std::string, double>& scores) const {
    if (upstream_->info().top == 0) return;
    TopFigures figures;
    for (const TrainingSequence& sequence : set.sequences) {
      sequence.model.Count(sequence.item.answer, figures);
    }
    scores["train_tail_mass_max"] = figures.most_mass;
    scores["train_tail_mass_mean"] = figures.mean_mass();
    scores["train_untold_tokens"] = figures.untold_share();
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
                        options.bystander_batch, options.learning_rate, options.seed, options.rank,
                        options.alpha, options.margin.forget_alpha, options.margin.keep_alpha,
                        options.forget_weight, options.keep_weight, options.bystander_weight,
                        SequencesDigest(set.sequences), earlier.HexDigest(),
                        upstream_->info().model_id, upstream_->info().weights_fingerprint,
                        upstream_->info().top),
        " ");
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
  if (model.vocab_size < tokenizer->vocab_size()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "M tells ", model.vocab_size, " ids, the pair's tokenizer has ", tokenizer->vocab_size(),
        " tokens: --upstream and --pair do not belong "
        "together"));
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
