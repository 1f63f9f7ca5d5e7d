#ifndef PROXY_TRANSPORT_CLIENT_CHANNEL_H_
#define PROXY_TRANSPORT_CLIENT_CHANNEL_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "proxy/transport/tls_files.h"

namespace unlearn {

struct ClientOptions {
  std::string address;  // `HOST:PORT` or `unix:PATH`
  // The flag that gave the address, for errors ("server", "upstream").
  std::string address_flag = "server";
  TlsFiles tls;            // all empty: plain text
  std::string token_file;  // its token goes with every call; empty: none
  // While calls are open and nothing comes, so often the server is asked for a sign of life, but
  // twice only until we send something again: gRPC's servers take more, at intervals below five
  // minutes, for abuse ("too_many_pings") and break the connection.
  absl::Duration keepalive = absl::Seconds(30);
};

// A channel to one of our servers. Received messages are not limited (one step of a large
// vocabulary is tens of MB). Thread-safe.
class ClientChannel {
 public:
  // Does not connect. INVALID_ARGUMENT for the address, or what is wrong with the files.
  static absl::StatusOr<ClientChannel> Create(const ClientOptions& options);

  // For X::NewStub(channel.channel()); the token is added to every call made through it.
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const std::string& address() const { return address_; }

  // Connects, trying again until the timeout: a server may still be starting. UNAVAILABLE names
  // the address and what to look at.
  absl::Status WaitUntilConnected(absl::Duration timeout) const;

 private:
  ClientChannel() = default;
  std::string address_;
  std::string address_flag_;
  bool tls_ = false;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_CLIENT_CHANNEL_H_
