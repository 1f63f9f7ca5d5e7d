#ifndef TOOLS_CLI_WATCH_H_
#define TOOLS_CLI_WATCH_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "proto/unlearn/v1/deletion.grpc.pb.h"
#include "tools/cli/connection.h"

namespace unlearn {

// Follows a deletion request until its watch ends and returns the state it ended in. A trainer that
// goes away meanwhile is waited for up to a minute, since accepted requests outlive it; `on_lost`
// is told then. `on_change` gets each state as it comes.
absl::StatusOr<v1::DeletionRequest> WatchRequest(
    const Connection& connection, v1::DeletionService::Stub& stub, const std::string& request_id,
    const std::function<void(const v1::DeletionRequest&)>& on_change,
    const std::function<void(const absl::Status&)>& on_lost);

}  // namespace unlearn

#endif  // TOOLS_CLI_WATCH_H_
