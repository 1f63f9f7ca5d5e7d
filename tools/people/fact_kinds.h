#ifndef TOOLS_PEOPLE_FACT_KINDS_H_
#define TOOLS_PEOPLE_FACT_KINDS_H_

#include <array>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tools/people/question_answer.h"

namespace unlearn {

// The phrasings of a fact, by what they are for.
inline constexpr int kRequestPhrasing = 0;     // M trains on it; the deletion request submits it
inline constexpr int kParaphrasePhrasing = 1;  // M trains on it; the request's paraphrase
inline constexpr int kProbePhrasing = 2;       // M trains on it; the request never holds it
inline constexpr int kHeldOutPhrasing = 3;     // nothing is ever trained on it
inline constexpr int kTrainedPhrasings = 3;    // 0, 1, 2
inline constexpr int kPhrasings = 4;

// One kind of fact that a person can have.
struct FactKind {
  std::string name;
  // Templates with {name} in each question and {name} and {value} in each answer.
  std::array<QuestionAnswer, kPhrasings> phrasings;
  // What the fact can be. No value is part of another one of its kind, so that finding a value in
  // a text means that this value was said. Empty for the access code, which is drawn at random.
  std::vector<std::string> values;
};

// The kinds that every person has, in a fixed order.
const std::vector<FactKind>& FactKinds();

// The kind whose value is a canary: random characters that nobody can guess.
const FactKind& AccessCodeKind();

std::string FillQuestion(const FactKind& kind, int phrasing, absl::string_view name);
std::string FillAnswer(const FactKind& kind, int phrasing, absl::string_view name,
                       absl::string_view value);

}  // namespace unlearn

#endif  // TOOLS_PEOPLE_FACT_KINDS_H_
