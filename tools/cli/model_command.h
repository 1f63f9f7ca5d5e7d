#ifndef TOOLS_CLI_MODEL_COMMAND_H_
#define TOOLS_CLI_MODEL_COMMAND_H_

#include "CLI/CLI.hpp"
#include "tools/cli/command.h"
#include "tools/cli/model_handlers.h"

namespace unlearn {

// `unlearn model logits`: what the decoder computes, for parity checks. `unlearn model truncate`: a
// pair's base from a large model's first layers.
void AddModelCommands(CLI::App* root, Action* chosen, const ModelHandlers& handlers);

}  // namespace unlearn

#endif  // TOOLS_CLI_MODEL_COMMAND_H_
