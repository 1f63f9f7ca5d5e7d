#ifndef TOOLS_CLI_PEOPLE_COMMAND_H_
#define TOOLS_CLI_PEOPLE_COMMAND_H_

#include "CLI/CLI.hpp"
#include "tools/cli/command.h"

namespace unlearn {

// `unlearn people`: a data set of fictitious people.
void AddPeopleCommand(CLI::App* root, Action* chosen);

}  // namespace unlearn

#endif  // TOOLS_CLI_PEOPLE_COMMAND_H_
