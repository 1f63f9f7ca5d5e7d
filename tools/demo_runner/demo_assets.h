#ifndef TOOLS_DEMO_RUNNER_DEMO_ASSETS_H_
#define TOOLS_DEMO_RUNNER_DEMO_ASSETS_H_

#include <string>

#include "absl/status/status.h"
#include "tools/people/people_generator.h"

namespace unlearn {

// The people of the demo: the shipped checkpoints were trained on exactly these.
PeopleOptions DemoPeople();

// Makes `models`/m and `models`/base again, as the shipped ones were made: the people's files, a
// tokenizer for M, M on its own text, the pair's base on the text of other people. Interrupted, it
// goes on where it was. Takes about ten minutes on two cores.
absl::Status MakeDemoModels(const std::string& models);

}  // namespace unlearn

#endif  // TOOLS_DEMO_RUNNER_DEMO_ASSETS_H_
