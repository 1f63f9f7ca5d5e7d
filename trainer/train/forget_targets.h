#ifndef TRAINER_TRAIN_FORGET_TARGETS_H_
#define TRAINER_TRAIN_FORGET_TARGETS_H_

#include <string>
#include <vector>

#include "proto/unlearn/v1/deletion.pb.h"

namespace unlearn {

// A question and what is trained (or probed) to follow it.
struct QuestionAnswer {
  std::string question;
  std::string answer;
};

// The phrasings that a request holds of an item: its question and its paraphrase, each with its
// true answer (empty when the item is answer-free). A plain text gives itself as the answer of an
// empty question.
std::vector<QuestionAnswer> TruePhrasings(const v1::Item& item);

// The same phrasings with other values in the place of the true one, as M might have said had it
// never known: from the item's wrong answers. One per phrasing and wrong answer; empty when the
// item holds no wrong answers.
std::vector<QuestionAnswer> RelabelledPhrasings(const v1::Item& item);

// Questions that were not trained, for the quality gate: other openings, a lost ending, and a cloze
// (the answer begun up to its value). `begun` continues the prompt.
struct ProbeQuestion {
  std::string question;
  std::string begun;
};
std::vector<ProbeQuestion> DerivedProbes(const v1::Item& item);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_FORGET_TARGETS_H_
