#ifndef PROXY_UPSTREAM_RETRY_AFTER_H_
#define PROXY_UPSTREAM_RETRY_AFTER_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"

// How long M's server asked us to wait before we ask again, carried by the error it answered with.
namespace unlearn {

// Unchanged for an OK status, and for a time that is not positive.
absl::Status WithRetryAfter(absl::Status status, std::optional<absl::Duration> wait);
std::optional<absl::Duration> RetryAfterOf(const absl::Status& status);

// What a gRPC server asked for when it ended a call: `grpc-retry-pushback-ms`. To be called where
// the call's status is known.
std::optional<absl::Duration> RetryPushback(const grpc::ClientContext& context);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_RETRY_AFTER_H_
