#ifndef TOOLS_CLI_GENERATE_COMMAND_H_
#define TOOLS_CLI_GENERATE_COMMAND_H_

#include "CLI/CLI.hpp"
#include "tools/cli/command.h"

namespace unlearn {

// `unlearn generate`: a completion under the ensemble, printed as it comes.
void AddGenerateCommand(CLI::App* root, Action* chosen);

}  // namespace unlearn

#endif  // TOOLS_CLI_GENERATE_COMMAND_H_
