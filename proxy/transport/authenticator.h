#ifndef PROXY_TRANSPORT_AUTHENTICATOR_H_
#define PROXY_TRANSPORT_AUTHENTICATOR_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"
#include "proxy/transport/token_file.h"

namespace unlearn {

// Who a caller is.
struct Caller {
  Role role = Role::kUser;
  // Whose work it is: the same for every call with one token, another for each token, empty where
  // no tokens are used. Tells nothing about the token.
  std::string tenant;
};

// Who calls, by the token in the metadata `authorization: Bearer TOKEN`. Every handler of our own
// services asks first (gRPC's AuthMetadataProcessor would not run without TLS); health and
// reflection tell nothing about models or people and stay open. Thread-safe, immutable.
class Authenticator {
 public:
  // Reads the file given with --token_file. With an empty path everyone is a user, nobody an admin.
  // Errors as ReadTokenFile.
  static absl::StatusOr<std::unique_ptr<Authenticator>> Load(const std::string& token_file);

  // UNAUTHENTICATED where a token is needed and missing, malformed or unknown. Takes a
  // ServerContext or a CallbackServerContext.
  absl::StatusOr<Caller> Authenticate(const grpc::ServerContextBase& context) const;

  // OK when the caller has at least this role; besides Authenticate's errors PERMISSION_DENIED.
  // `what` names what was asked for, for the error's text: "the field alpha".
  absl::Status Require(Role role, const grpc::ServerContextBase& context,
                       const std::string& what) const;

 private:
  struct Entry {
    std::string digest;  // SHA-256, so that comparing takes the same time whatever the token
    Role role;
  };
  std::vector<Entry> entries_;  // empty: no token file
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_AUTHENTICATOR_H_
