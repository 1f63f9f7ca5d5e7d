#ifndef PROXY_UPSTREAM_UPSTREAM_CHANNEL_H_
#define PROXY_UPSTREAM_UPSTREAM_CHANNEL_H_

#include <string>

#include "absl/status/statusor.h"
#include "proxy/transport/client_channel.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// A channel to an upstream that speaks gRPC, with the options' certificates and token. A server
// that is still starting is waited for until the connect timeout.
absl::StatusOr<ClientChannel> ConnectUpstream(const std::string& address,
                                              const UpstreamOptions& options);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_UPSTREAM_CHANNEL_H_
