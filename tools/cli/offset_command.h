#ifndef TOOLS_CLI_OFFSET_COMMAND_H_
#define TOOLS_CLI_OFFSET_COMMAND_H_

#include "CLI/CLI.hpp"
#include "tools/cli/command.h"
#include "tools/cli/model_handlers.h"

namespace unlearn {

// `unlearn offset init|list|show|verify|activate|rollback`: the published versions.
void AddOffsetCommands(CLI::App* root, Action* chosen, const ModelHandlers& handlers);

}  // namespace unlearn

#endif  // TOOLS_CLI_OFFSET_COMMAND_H_
