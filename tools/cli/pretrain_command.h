#ifndef TOOLS_CLI_PRETRAIN_COMMAND_H_
#define TOOLS_CLI_PRETRAIN_COMMAND_H_

#include "CLI/CLI.hpp"
#include "tools/cli/command.h"
#include "tools/cli/model_handlers.h"

namespace unlearn {

// `unlearn pretrain`: trains a small model from scratch, or further.
void AddPretrainCommand(CLI::App* root, Action* chosen, const ModelHandlers& handlers);

}  // namespace unlearn

#endif  // TOOLS_CLI_PRETRAIN_COMMAND_H_
