#ifndef TOOLS_CLI_SCORE_COMMAND_H_
#define TOOLS_CLI_SCORE_COMMAND_H_

#include "CLI/CLI.hpp"
#include "tools/cli/command.h"

namespace unlearn {

// `unlearn score`: log-probabilities of a given completion under the ensemble.
void AddScoreCommand(CLI::App* root, Action* chosen);

}  // namespace unlearn

#endif  // TOOLS_CLI_SCORE_COMMAND_H_
