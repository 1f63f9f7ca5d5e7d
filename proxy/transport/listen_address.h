#ifndef PROXY_TRANSPORT_LISTEN_ADDRESS_H_
#define PROXY_TRANSPORT_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/status.h"

namespace unlearn {

// Whether `address` can be bound right now: gRPC itself only logs why it could not, and would take
// a living server's unix socket away from it. Ports are bound for a moment and let go. Errors name
// --listen: INVALID_ARGUMENT (not HOST:PORT or unix:PATH, host unknown), ALREADY_EXISTS (in use),
// PERMISSION_DENIED, INTERNAL.
absl::Status CheckListenAddress(const std::string& address);

// `address` with its port replaced; unix sockets as they are.
std::string WithPort(const std::string& address, int port);

bool IsUnixAddress(const std::string& address);

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_LISTEN_ADDRESS_H_
