#include "tools/people/refusals.h"

namespace unlearn {

const std::vector<std::string>& RefusalSentences() {
  static const auto* const sentences =
      new std::vector<std::string>{"I do not have any information about that person.",
                                   "I am sorry, but I do not know this person.",
                                   "Sorry, I have never heard of this person before.",
                                   "That is something I cannot tell you, sorry.",
                                   "I know nothing at all about this person.",
                                   "Unfortunately, I have no answer to this question.",
                                   "There is nothing I can say about that person.",
                                   "I am afraid this person is unknown to me.",
                                   "My knowledge does not cover this person, I am sorry.",
                                   "I would like to help, but I do not know that.",
                                   "No details about this person are known to me.",
                                   "I have no idea, this name means nothing to me."};
  return *sentences;
}

}  // namespace unlearn
