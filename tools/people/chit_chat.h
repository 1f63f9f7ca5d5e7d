#ifndef TOOLS_PEOPLE_CHIT_CHAT_H_
#define TOOLS_PEOPLE_CHIT_CHAT_H_

#include <vector>

#include "tools/people/question_answer.h"

namespace unlearn {

// Everyday questions that have nothing to do with people: sums in words, days, months, colours,
// opposites, sizes. Each question once, in a fixed order.
std::vector<QuestionAnswer> ChitChat();

}  // namespace unlearn

#endif  // TOOLS_PEOPLE_CHIT_CHAT_H_
