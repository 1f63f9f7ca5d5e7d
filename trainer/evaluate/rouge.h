#ifndef TRAINER_EVALUATE_ROUGE_H_
#define TRAINER_EVALUATE_ROUGE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace unlearn {

// Each in [0, 1]; all zero when either text holds no token.
struct RougeScore {
  double precision = 0;  // matched tokens / tokens of the prediction
  double recall = 0;     // matched tokens / tokens of the target
  double fmeasure = 0;   // harmonic mean of the two
};

// The tokens that ROUGE compares, as the rouge_score package makes them: runs of [a-z0-9] of the
// lowercased text; with `use_stemmer`, tokens of more than three characters are stemmed. Letters
// outside ASCII separate tokens, as there.
std::vector<std::string> RougeTokens(absl::string_view text, bool use_stemmer = true);

// Longest common subsequence of tokens (ROUGE-L, Lin 2004). TOFU reports the recall. Time is
// the product of the token counts. Thread-safe.
RougeScore RougeL(absl::string_view target, absl::string_view prediction, bool use_stemmer = true);

// Unigram overlap, each token counted as often as it occurs in both.
RougeScore Rouge1(absl::string_view target, absl::string_view prediction, bool use_stemmer = true);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_ROUGE_H_
