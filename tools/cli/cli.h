#ifndef TOOLS_CLI_CLI_H_
#define TOOLS_CLI_CLI_H_

#include <string>
#include <vector>

#include "tools/cli/model_handlers.h"
#include "tools/cli/output.h"

namespace unlearn {

// The whole tool: reads the command line (without the program's name), does what it says, and
// returns the exit code. The reason of a failure goes to console.err.
int RunCli(const std::vector<std::string>& arguments, Console& console,
           const ModelHandlers& handlers);

}  // namespace unlearn

#endif  // TOOLS_CLI_CLI_H_
