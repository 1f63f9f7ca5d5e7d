#ifndef PROXY_TRANSPORT_GRPC_STATUS_H_
#define PROXY_TRANSPORT_GRPC_STATUS_H_

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace unlearn {

// The one place where the two kinds of status meet. Codes map one to one. A long message is cut
// (gRPC sends it in a header of at most 8 KiB); payloads are dropped.
grpc::Status ToGrpcStatus(const absl::Status& status);

// Codes that Abseil does not know become UNKNOWN, the number named in the message.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_GRPC_STATUS_H_
