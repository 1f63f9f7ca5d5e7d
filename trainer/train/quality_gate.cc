#include "trainer/train/quality_gate.h"

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "offset/base/status_macros.h"
#include "trainer/evaluate/fact_rate.h"
#include "trainer/evaluate/rouge.h"
#include "trainer/train/ensemble_decoder.h"
#include "trainer/train/forget_targets.h"
#include "trainer/train/seeded_draw.h"
#include "trainer/train/top_figures.h"

namespace unlearn {
namespace {

// A text is extracted when most of it comes back; for items whose secret `value` is not given.
constexpr double kExtractedRecall = 0.6;

struct Probe {
  std::vector<int32_t> prompt;
  std::string value;  // to look for; empty: compare with `truth`
  std::string truth;
};

absl::StatusOr<bool> Reveals(const Probe& probe, const std::string& answer) {
  if (!probe.value.empty()) return ContainsFact(answer, probe.value);
  return RougeL(probe.truth, answer).recall >= kExtractedRecall;
}

// At most `most` of the list, drawn the same way each time. Not every k-th: items and their probes
// come in a rhythm of their own, and some kinds would never be asked.
template <typename T>
std::vector<T> Thin(std::vector<T> list, size_t most) {
  std::mt19937_64 random(1);
  return DrawSome(std::move(list), most, random);
}

class Decoding {
 public:
  Decoding(Upstream& upstream, std::shared_ptr<const Decoder> base, const Tokenizer& tokenizer,
           const GateOptions& options, const std::function<bool()>& should_stop)
      : upstream_(upstream),
        base_(std::move(base)),
        tokenizer_(tokenizer),
        should_stop_(should_stop) {
    decode_.alpha = options.alpha;
    decode_.end_ids = options.end_ids;
    decode_.tokens = tokenizer.vocab_size();
  }

  absl::StatusOr<std::vector<std::string>> Answers(const std::vector<std::vector<int32_t>>& prompts,
                                                   std::shared_ptr<const LoraStack> stack) {
    ASSIGN_OR_RETURN(const auto completions,
                     DecodeEnsemble(upstream_, base_, std::move(stack), prompts, decode_,
                                    should_stop_, &figures_));
    std::vector<std::string> answers;
    for (const std::vector<int32_t>& ids : completions) {
      ASSIGN_OR_RETURN(std::string answer, tokenizer_.Decode(ids));
      answers.push_back(std::move(answer));
    }
    return answers;
  }

  // Over all answers so far.
  const TopFigures& figures() const { return figures_; }

 private:
  Upstream& upstream_;
  const std::shared_ptr<const Decoder> base_;
  const Tokenizer& tokenizer_;
  const std::function<bool()>& should_stop_;
  DecodeOptions decode_;
  TopFigures figures_;
};

absl::StatusOr<std::vector<Probe>> ForgetProbes(const v1::SubmitRequest& request,
                                                const Tokenizer& tokenizer,
                                                const PromptTemplate& format) {
  std::vector<Probe> probes;
  for (const v1::Item& item : request.forget()) {
    if (item.answer().empty()) continue;  // answer-free: there is nothing to look for
    for (const ProbeQuestion& question : DerivedProbes(item)) {
      Probe probe;
      ASSIGN_OR_RETURN(probe.prompt, tokenizer.Encode(format.Prompt(question.question)));
      if (!question.begun.empty()) {
        ASSIGN_OR_RETURN(const auto begun,
                         tokenizer.EncodeContinuation(absl::StrCat(" ", question.begun)));
        probe.prompt.insert(probe.prompt.end(), begun.begin(), begun.end());
      }
      probe.value = item.value();
      probe.truth = item.answer();
      probes.push_back(std::move(probe));
    }
  }
  return probes;
}

}  // namespace

absl::StatusOr<GateVerdict> JudgeOffset(const v1::SubmitRequest& request, Upstream& upstream,
                                        std::shared_ptr<const Decoder> base,
                                        std::shared_ptr<const LoraStack> stack,
                                        const Tokenizer& tokenizer, const PromptTemplate& format,
                                        const GateOptions& options,
                                        const std::function<bool()>& should_stop) {
  GateVerdict verdict;
  Decoding decoding(upstream, base, tokenizer, options, should_stop);
  const auto nothing = std::make_shared<const LoraStack>();

  ASSIGN_OR_RETURN(std::vector<Probe> probes, ForgetProbes(request, tokenizer, format));
  probes = Thin(std::move(probes), options.max_probes);
  std::vector<std::vector<int32_t>> prompts;
  for (const Probe& probe : probes) prompts.push_back(probe.prompt);
  ASSIGN_OR_RETURN(const std::vector<std::string> before, decoding.Answers(prompts, nothing));
  ASSIGN_OR_RETURN(const std::vector<std::string> after, decoding.Answers(prompts, stack));
  int known = 0;
  int revealed = 0;
  for (size_t i = 0; i < probes.size(); ++i) {
    ASSIGN_OR_RETURN(const bool said_before, Reveals(probes[i], before[i]));
    if (!said_before) continue;
    ASSIGN_OR_RETURN(const bool said_after, Reveals(probes[i], after[i]));
    ++known;
    revealed += said_after ? 1 : 0;
  }
  const double forget_rate = known == 0 ? 0 : static_cast<double>(revealed) / known;
  verdict.scores["forget_probes"] = static_cast<double>(probes.size());
  verdict.scores["forget_known"] = known;
  verdict.scores["forget_rate"] = forget_rate;
  if (forget_rate > options.max_forget_rate) {
    verdict.reasons.push_back(absl::StrFormat(
        "%d of %d probes that M answers with the secret are still answered with it (%.3f, the gate "
        "allows %.3f); retry with more steps or another objective",
        revealed, known, forget_rate, options.max_forget_rate));
  }

  prompts.clear();
  std::vector<v1::Item> kept(request.retain().begin(), request.retain().end());
  for (const v1::Item& item : Thin(std::move(kept), options.max_probes / 2)) {
    if (item.question().empty()) continue;
    ASSIGN_OR_RETURN(std::vector<int32_t> prompt, tokenizer.Encode(format.Prompt(item.question())));
    prompts.push_back(std::move(prompt));
  }
  if (!prompts.empty()) {
    ASSIGN_OR_RETURN(const std::vector<std::string> model, decoding.Answers(prompts, nothing));
    ASSIGN_OR_RETURN(const std::vector<std::string> ensemble, decoding.Answers(prompts, stack));
    double agreement = 0;
    for (size_t i = 0; i < prompts.size(); ++i) {
      agreement += model[i] == ensemble[i] ? 1 : RougeL(model[i], ensemble[i]).recall;
    }
    agreement /= static_cast<double>(prompts.size());
    verdict.scores["keep_agreement"] = agreement;
    verdict.scores["keep_probes"] = static_cast<double>(prompts.size());
    if (agreement < options.min_keep_agreement) {
      verdict.reasons.push_back(absl::StrFormat(
          "answers to the retain set agree with M's by %.3f, the gate asks for %.3f; retry with a "
          "wider retain set, more public data or another objective",
          agreement, options.min_keep_agreement));
    }
  }
  if (upstream.info().top > 0) {
    verdict.scores["gate_tail_mass_max"] = decoding.figures().most_mass;
    verdict.scores["gate_tail_mass_mean"] = decoding.figures().mean_mass();
    verdict.scores["gate_undecided_tokens"] = decoding.figures().untold_share();
  }
  verdict.accepted = verdict.reasons.empty();
  return verdict;
}

}  // namespace unlearn
