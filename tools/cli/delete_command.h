#ifndef TOOLS_CLI_DELETE_COMMAND_H_
#define TOOLS_CLI_DELETE_COMMAND_H_

#include "CLI/CLI.hpp"
#include "tools/cli/command.h"

namespace unlearn {

// `unlearn delete submit|get|list|watch|cancel|retry`: deletion requests at the trainer.
void AddDeleteCommands(CLI::App* root, Action* chosen);

}  // namespace unlearn

#endif  // TOOLS_CLI_DELETE_COMMAND_H_
