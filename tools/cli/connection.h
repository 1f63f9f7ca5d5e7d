#ifndef TOOLS_CLI_CONNECTION_H_
#define TOOLS_CLI_CONNECTION_H_

#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"
#include "proxy/transport/client_channel.h"

namespace unlearn {

// Which server a command talks to, and so which flag names it.
enum class Peer { kProxy, kTrainer };

struct ConnectionFlags {
  Peer peer = Peer::kProxy;
  std::string address;
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  std::string token_file;
  double timeout_seconds = 0;  // 0: none
};

inline constexpr double kNoTimeout = 0;
inline constexpr double kCallTimeoutSeconds = 120;

// Adds --server or --trainer, the --tls_* files, --token_file and --timeout. A flag wins over the
// environment (UNLEARN_SERVER, UNLEARN_TLS_CA ...).
void AddConnectionFlags(CLI::App* command, Peer peer, double default_timeout_seconds,
                        ConnectionFlags* flags);

// A server to call, connected. Its methods are thread-safe.
class Connection {
 public:
  // A usage error when no address was given; UNAVAILABLE, naming address and flag, when nothing
  // answers there within 5 s (or --timeout, when that is less).
  static absl::StatusOr<Connection> Open(const ConnectionFlags& flags);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_.channel(); }

  // Gives a call what is left of --timeout since Open.
  void Arm(grpc::ClientContext& context) const;

  // What the server answered, its address put before the message.
  absl::Status ToStatus(const grpc::Status& status) const;

  // Waits for a server that went away, at most `longest` and what is left of --timeout.
  absl::Status WaitAgain(absl::Duration longest) const;

 private:
  Connection(ClientChannel channel, double timeout_seconds, absl::Time deadline)
      : channel_(std::move(channel)), timeout_seconds_(timeout_seconds), deadline_(deadline) {}

  ClientChannel channel_;
  double timeout_seconds_;
  absl::Time deadline_;
};

}  // namespace unlearn

#endif  // TOOLS_CLI_CONNECTION_H_
