#ifndef TOOLS_CLI_TRUNCATE_HANDLER_H_
#define TOOLS_CLI_TRUNCATE_HANDLER_H_

#include "absl/status/status.h"
#include "tools/cli/model_handlers.h"

namespace unlearn {

// Writes the first layers of a model as a model of its own, weights as they are. INVALID_ARGUMENT
// for more layers than there are, ALREADY_EXISTS when --out holds a model.
absl::Status RunTruncate(const TruncateOptions& options, Console& console);

}  // namespace unlearn

#endif  // TOOLS_CLI_TRUNCATE_HANDLER_H_
