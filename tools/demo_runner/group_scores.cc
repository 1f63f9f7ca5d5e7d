#include "tools/demo_runner/group_scores.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/base/status_macros.h"
#include "trainer/evaluate/fact_rate.h"
#include "trainer/evaluate/fluency.h"
#include "trainer/evaluate/probability.h"
#include "trainer/evaluate/rouge.h"

namespace unlearn {

absl::StatusOr<GroupScores> AskGroup(const Asker& asker, const PromptTemplate& format,
                                     const std::vector<v1::Item>& items, int max_tokens) {
  if (items.empty()) return absl::InvalidArgumentError("a group without questions");
  std::vector<std::string> prompts;
  std::vector<Asker::Pair> pairs;
  for (const v1::Item& item : items) {
    prompts.push_back(format.Prompt(item.question()));
    pairs.push_back({prompts.back(), absl::StrCat(" ", item.answer())});
  }
  GroupScores scores;
  const absl::Time start = absl::Now();
  ASSIGN_OR_RETURN(const std::vector<Answer> answers, asker.GenerateAll(prompts, max_tokens));
  scores.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  ASSIGN_OR_RETURN(const std::vector<ScoredAnswer> scored, asker.ScoreAll(pairs));
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string text(absl::StripAsciiWhitespace(answers[i].text));
    scores.answers.push_back(text);
    scores.tokens += static_cast<int64_t>(answers[i].tokens.size());
    if (!items[i].value().empty()) {
      ASSIGN_OR_RETURN(const bool revealed, ContainsFact(text, items[i].value()));
      scores.fact_rate += revealed ? 1 : 0;
    }
    scores.rouge += RougeL(items[i].answer(), text).recall;
    ASSIGN_OR_RETURN(const double probability, AnswerProbability(scored[i].losses));
    scores.probability += probability;
    scores.fluency += IsFluent(text) ? 1 : 0;
  }
  const double count = static_cast<double>(items.size());
  scores.fact_rate /= count;
  scores.rouge /= count;
  scores.probability /= count;
  scores.fluency /= count;
  return scores;
}

}  // namespace unlearn
