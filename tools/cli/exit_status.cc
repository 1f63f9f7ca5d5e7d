#include "tools/cli/exit_status.h"

#include "absl/strings/cord.h"

namespace unlearn {
namespace {

constexpr char kUsagePayload[] = "unlearn/usage";
constexpr char kRefusedPayload[] = "unlearn/refused-by-gate";

}  // namespace

absl::Status UsageError(absl::string_view message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

absl::Status RefusedByGateError(absl::string_view message) {
  absl::Status status = absl::FailedPreconditionError(message);
  status.SetPayload(kRefusedPayload, absl::Cord());
  return status;
}

int ExitCode(const absl::Status& status) {
  if (status.ok()) return kExitDone;
  if (status.GetPayload(kUsagePayload).has_value()) return kExitWrongUsage;
  if (status.GetPayload(kRefusedPayload).has_value()) return kExitRefusedByGate;
  return kExitFailed;
}

}  // namespace unlearn
