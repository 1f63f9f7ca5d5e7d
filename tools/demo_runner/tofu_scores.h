#ifndef TOOLS_DEMO_RUNNER_TOFU_SCORES_H_
#define TOOLS_DEMO_RUNNER_TOFU_SCORES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "tools/harness/asker.h"
#include "trainer/train/encoded_item.h"

namespace unlearn {

// TOFU's three numbers of each question of one set, in the set's order.
struct TofuSetScores {
  std::vector<double> rouge;  // recall of ROUGE-L
  std::vector<double> probability;
  std::vector<double> truth_ratio;  // above 1 where wrong answers are likelier
};

enum class TofuKind {
  kSentence,  // forget and retain: probability of the answer; wrong answers against a paraphrase
  kChoice,    // real authors and world facts: the answer against wrong ones
};

// The completions whose probability one question needs: the answer, then the paraphrase (kSentence
// only; the answer itself where an item has none), then the wrong answers.
std::vector<std::string> ScoredCompletions(const v1::Item& item, TofuKind kind);

// Adds one question: what was generated, and the token losses of ScoredCompletions.
absl::Status AddScores(const v1::Item& item, TofuKind kind, const std::string& generated,
                       const std::vector<std::vector<double>>& losses, TofuSetScores& scores);

// Asks a proxy everything about one set. Generates greedily.
absl::StatusOr<TofuSetScores> MeasureTofuSet(const Asker& asker, const PromptTemplate& format,
                                             const std::vector<v1::Item>& items, TofuKind kind,
                                             int max_tokens);

// At most `most` of the items, spread evenly.
std::vector<v1::Item> Spread(const std::vector<v1::Item>& items, size_t most);

}  // namespace unlearn

#endif  // TOOLS_DEMO_RUNNER_TOFU_SCORES_H_
