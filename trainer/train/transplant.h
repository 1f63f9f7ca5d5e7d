#ifndef TRAINER_TRAIN_TRANSPLANT_H_
#define TRAINER_TRAIN_TRANSPLANT_H_

#include <string>
#include <vector>

#include "proto/unlearn/v1/deletion.pb.h"

namespace unlearn {

// A request holds its people in a wording or two; they will be asked about in others. The
// operator's public data show how people ask: here its questions are given other names.

// Whom an item is about: the longest run of two or more capitalised words that stands in its
// question and in its answer alike. Empty when there is none.
std::string SubjectOf(const v1::Item& item);

// The longest run of two or more capitalised words in a question, whether or not the answer holds
// it (a refusal does not); it may begin with the question's first word. Empty when there is none.
std::string LongestNameIn(const std::string& question);

// The distinct subjects of items, in their order.
std::vector<std::string> SubjectsOf(const std::vector<v1::Item>& items);

// The distinct questions of items with the subject taken out: {before, after}.
struct QuestionFrame {
  std::string before;
  std::string after;
  std::string With(const std::string& subject) const { return before + subject + after; }
};
std::vector<QuestionFrame> FramesOf(const std::vector<v1::Item>& items);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_TRANSPLANT_H_
