#ifndef TOOLS_CLI_OFFSET_INIT_HANDLER_H_
#define TOOLS_CLI_OFFSET_INIT_HANDLER_H_

#include "absl/status/status.h"
#include "tools/cli/model_handlers.h"

namespace unlearn {

// Asks M and the pair who they are and writes version 0 for them, active. The key file is generated
// when there is none. Killed half-way it can be run again; ALREADY_EXISTS when a version is active.
absl::Status RunOffsetInit(const OffsetInitOptions& options, Console& console);

}  // namespace unlearn

#endif  // TOOLS_CLI_OFFSET_INIT_HANDLER_H_
