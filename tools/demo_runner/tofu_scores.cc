#include "tools/demo_runner/tofu_scores.h"

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "offset/base/status_macros.h"
#include "trainer/evaluate/probability.h"
#include "trainer/evaluate/rouge.h"
#include "trainer/evaluate/truth_ratio.h"

namespace unlearn {
namespace {

double Mean(const std::vector<double>& losses) {
  return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
}

}  // namespace

std::vector<std::string> ScoredCompletions(const v1::Item& item, TofuKind kind) {
  std::vector<std::string> completions = {item.answer()};
  if (kind == TofuKind::kSentence) {
    completions.push_back(item.paraphrased_answer().empty() ? item.answer()
                                                            : item.paraphrased_answer());
  }
  completions.insert(completions.end(), item.perturbed_answer().begin(),
                     item.perturbed_answer().end());
  return completions;
}

absl::Status AddScores(const v1::Item& item, TofuKind kind, const std::string& generated,
                       const std::vector<std::vector<double>>& losses, TofuSetScores& scores) {
  if (losses.size() != ScoredCompletions(item, kind).size()) {
    return absl::InternalError(absl::StrCat(losses.size(), " completions were scored, not ",
                                            ScoredCompletions(item, kind).size()));
  }
  std::vector<double> averages;
  for (const std::vector<double>& tokens : losses) {
    if (tokens.empty()) return absl::InternalError("a completion without tokens was scored");
    averages.push_back(Mean(tokens));
  }
  // The right answer that the wrong ones are held against.
  const size_t right = kind == TofuKind::kSentence ? 1 : 0;
  const absl::Span<const double> wrong = absl::MakeConstSpan(averages).subspan(right + 1);
  ASSIGN_OR_RETURN(const double probability, kind == TofuKind::kSentence
                                                 ? AnswerProbability(losses[0])
                                                 : ChoiceProbability(averages[0], wrong));
  ASSIGN_OR_RETURN(const double ratio, TruthRatio(averages[right], wrong));
  scores.rouge.push_back(RougeL(item.answer(), generated).recall);
  scores.probability.push_back(probability);
  scores.truth_ratio.push_back(ratio);
  return absl::OkStatus();
}

absl::StatusOr<TofuSetScores> MeasureTofuSet(const Asker& asker, const PromptTemplate& format,
                                             const std::vector<v1::Item>& items, TofuKind kind,
                                             int max_tokens) {
  std::vector<std::string> prompts;
  std::vector<Asker::Pair> pairs;
  for (const v1::Item& item : items) {
    prompts.push_back(format.Prompt(item.question()));
    for (const std::string& completion : ScoredCompletions(item, kind)) {
      pairs.push_back({prompts.back(), absl::StrCat(" ", completion)});
    }
  }
  ASSIGN_OR_RETURN(const std::vector<Answer> answers, asker.GenerateAll(prompts, max_tokens));
  ASSIGN_OR_RETURN(std::vector<ScoredAnswer> scored, asker.ScoreAll(pairs));
  TofuSetScores scores;
  size_t at = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    std::vector<std::vector<double>> losses;
    for (size_t j = ScoredCompletions(items[i], kind).size(); j > 0; --j) {
      losses.push_back(std::move(scored[at++].losses));
    }
    RETURN_IF_ERROR(AddScores(items[i], kind, answers[i].text, losses, scores));
  }
  return scores;
}

std::vector<v1::Item> Spread(const std::vector<v1::Item>& items, size_t most) {
  if (items.size() <= most) return items;
  std::vector<v1::Item> spread;
  for (size_t i = 0; i < most; ++i) spread.push_back(items[i * items.size() / most]);
  return spread;
}

}  // namespace unlearn
