#ifndef TOOLS_CLI_EXEC_MODELS_H_
#define TOOLS_CLI_EXEC_MODELS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace unlearn {

// Replaces this process by `unlearn_models`, which lies beside its program file, with the same
// arguments: exit code, stdin, stdout and stderr are its own from then on. Returns only when that
// fails.
absl::Status ExecModels(const std::vector<std::string>& arguments);

}  // namespace unlearn

#endif  // TOOLS_CLI_EXEC_MODELS_H_
