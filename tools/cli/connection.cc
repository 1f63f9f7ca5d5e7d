#include "tools/cli/connection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "proxy/transport/grpc_status.h"
#include "tools/cli/exit_status.h"

namespace unlearn {
namespace {

constexpr absl::Duration kConnectTimeout = absl::Seconds(5);

}  // namespace

void AddConnectionFlags(CLI::App* command, Peer peer, double default_timeout_seconds,
                        ConnectionFlags* flags) {
  flags->peer = peer;
  flags->timeout_seconds = default_timeout_seconds;
  const std::string group = "Connection";
  if (peer == Peer::kProxy) {
    command->add_option("--server", flags->address, "The proxy: HOST:PORT or unix:PATH")
        ->envname("UNLEARN_SERVER")
        ->group(group);
  } else {
    command->add_option("--trainer", flags->address, "The trainer: HOST:PORT or unix:PATH")
        ->envname("UNLEARN_TRAINER")
        ->group(group);
  }
  command
      ->add_option("--tls_ca", flags->tls_ca, "PEM file of the certificates to trust; turns TLS on")
      ->envname("UNLEARN_TLS_CA")
      ->group(group);
  command->add_option("--tls_cert", flags->tls_cert, "PEM file of the client's own certificate")
      ->envname("UNLEARN_TLS_CERT")
      ->group(group);
  command->add_option("--tls_key", flags->tls_key, "PEM file of its private key")
      ->envname("UNLEARN_TLS_KEY")
      ->group(group);
  command
      ->add_option("--token_file", flags->token_file,
                   "File with the token that the server knows this caller by")
      ->envname("UNLEARN_TOKEN_FILE")
      ->group(group);
  command
      ->add_option("--timeout", flags->timeout_seconds,
                   "Seconds until the whole call is given up; 0: never")
      ->envname("UNLEARN_TIMEOUT")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->capture_default_str()
      ->group(group);
}

absl::StatusOr<Connection> Connection::Open(const ConnectionFlags& flags) {
  const bool proxy = flags.peer == Peer::kProxy;
  if (flags.address.empty()) {
    return UsageError(proxy
                          ? "--server is missing: give the proxy's HOST:PORT or unix:PATH, or set "
                            "UNLEARN_SERVER"
                          : "--trainer is missing: give the trainer's HOST:PORT or unix:PATH, or "
                            "set UNLEARN_TRAINER");
  }
  ClientOptions options;
  options.address = flags.address;
  options.address_flag = proxy ? "server" : "trainer";
  options.tls.ca = flags.tls_ca;
  options.tls.cert = flags.tls_cert;
  options.tls.key = flags.tls_key;
  options.token_file = flags.token_file;
  ASSIGN_OR_RETURN(ClientChannel channel, ClientChannel::Create(options));
  const absl::Time deadline = flags.timeout_seconds > 0
                                  ? absl::Now() + absl::Seconds(flags.timeout_seconds)
                                  : absl::InfiniteFuture();
  RETURN_IF_ERROR(channel.WaitUntilConnected(std::min(kConnectTimeout, deadline - absl::Now())));
  return Connection(std::move(channel), flags.timeout_seconds, deadline);
}

void Connection::Arm(grpc::ClientContext& context) const {
  if (deadline_ != absl::InfiniteFuture()) context.set_deadline(absl::ToChronoTime(deadline_));
}

absl::Status Connection::ToStatus(const grpc::Status& status) const {
  const absl::Status converted = FromGrpcStatus(status);
  if (converted.ok()) return converted;
  if (converted.code() == absl::StatusCode::kDeadlineExceeded && timeout_seconds_ > 0) {
    return absl::DeadlineExceededError(
        absl::StrCat(channel_.address(), ": no answer within --timeout ", timeout_seconds_, " s (",
                     converted.message(), "); give it more, or 0 for no limit"));
  }
  return absl::Status(converted.code(),
                      absl::StrCat(channel_.address(), ": ", converted.message()));
}

absl::Status Connection::WaitAgain(absl::Duration longest) const {
  const absl::Duration left = deadline_ - absl::Now();
  if (left <= absl::ZeroDuration()) {
    return absl::DeadlineExceededError(
        absl::StrCat(channel_.address(), ": not back within --timeout ", timeout_seconds_, " s"));
  }
  return channel_.WaitUntilConnected(std::min(longest, left));
}

}  // namespace unlearn
