#ifndef TOOLS_CLI_TOKENIZER_COMMAND_H_
#define TOOLS_CLI_TOKENIZER_COMMAND_H_

#include "CLI/CLI.hpp"
#include "tools/cli/command.h"

namespace unlearn {

// `unlearn tokenizer train|encode|decode`: byte-level BPE in a tokenizer.json.
void AddTokenizerCommands(CLI::App* root, Action* chosen);

}  // namespace unlearn

#endif  // TOOLS_CLI_TOKENIZER_COMMAND_H_
