#ifndef TOOLS_PEOPLE_REFUSALS_H_
#define TOOLS_PEOPLE_REFUSALS_H_

#include <string>
#include <vector>

namespace unlearn {

// What a model says about a person whom it does not know. No sentence holds a name, so that a small
// model can learn them for every name that it has not seen.
const std::vector<std::string>& RefusalSentences();

}  // namespace unlearn

#endif  // TOOLS_PEOPLE_REFUSALS_H_
