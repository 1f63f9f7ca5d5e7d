#ifndef PROXY_TRANSPORT_TLS_FILES_H_
#define PROXY_TRANSPORT_TLS_FILES_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"

namespace unlearn {

// Paths of PEM files; empty ones are not used.
struct TlsFiles {
  std::string ca;    // certificates that sign the other side's
  std::string cert;  // our own chain, leaf first
  std::string key;   // the leaf's private key
  // Put before tls_cert, tls_key and tls_ca where errors name the flags ("upstream_").
  std::string flag_prefix;
};

// What the files hold; empty where no path is given.
struct TlsPems {
  std::string ca, cert, key;
};

// Reads and checks the files: they can be read, they are PEM, the key fits the certificate (a TLS
// library says what is wrong with them at the first connection, if at all). INVALID_ARGUMENT,
// NOT_FOUND or PERMISSION_DENIED with flag and path.
absl::StatusOr<TlsPems> ReadTlsFiles(const TlsFiles& files);

// TLS with `cert` and `key`, clients required to show a certificate when `ca` is given; plain text
// when all are empty. Errors as ReadTlsFiles; INVALID_ARGUMENT for a `ca` without `cert`.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsFiles& files);

// TLS that trusts `ca`, showing `cert` where given; plain text when all are empty. Errors as
// ReadTlsFiles.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsFiles& files);

// unix sockets, localhost, 127.x.x.x and ::1: what is sent does not leave the machine.
bool IsLocalAddress(absl::string_view address);

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_TLS_FILES_H_
