#ifndef TOOLS_CLI_LOGITS_HANDLER_H_
#define TOOLS_CLI_LOGITS_HANDLER_H_

#include "absl/status/status.h"
#include "tools/cli/model_handlers.h"

namespace unlearn {

// Prints [positions, vocab] logits in fp32. INVALID_ARGUMENT for a token outside the vocabulary or
// more tokens than the context.
absl::Status RunLogits(const LogitsOptions& options, Console& console);

}  // namespace unlearn

#endif  // TOOLS_CLI_LOGITS_HANDLER_H_
