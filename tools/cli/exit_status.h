#ifndef TOOLS_CLI_EXIT_STATUS_H_
#define TOOLS_CLI_EXIT_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// The exit codes of `unlearn`; scripts depend on them.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitWrongUsage = 2;
inline constexpr int kExitRefusedByGate = 3;

// The command line itself is wrong, in a way that the parser does not see.
absl::Status UsageError(absl::string_view message);

// The quality gate did not accept the deletion request.
absl::Status RefusedByGateError(absl::string_view message);

// 0 for OK, 2 and 3 for the two errors above, 1 for every other.
int ExitCode(const absl::Status& status);

}  // namespace unlearn

#endif  // TOOLS_CLI_EXIT_STATUS_H_
