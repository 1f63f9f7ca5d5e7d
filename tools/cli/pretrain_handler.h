#ifndef TOOLS_CLI_PRETRAIN_HANDLER_H_
#define TOOLS_CLI_PRETRAIN_HANDLER_H_

#include "absl/status/status.h"
#include "tools/cli/model_handlers.h"

namespace unlearn {

// Trains, with progress on stderr.
absl::Status RunPretrain(const PretrainFlags& options, Console& console);

}  // namespace unlearn

#endif  // TOOLS_CLI_PRETRAIN_HANDLER_H_
