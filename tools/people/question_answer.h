#ifndef TOOLS_PEOPLE_QUESTION_ANSWER_H_
#define TOOLS_PEOPLE_QUESTION_ANSWER_H_

#include <string>

namespace unlearn {

struct QuestionAnswer {
  std::string question;
  std::string answer;
};

}  // namespace unlearn

#endif  // TOOLS_PEOPLE_QUESTION_ANSWER_H_
