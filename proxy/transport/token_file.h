#ifndef PROXY_TRANSPORT_TOKEN_FILE_H_
#define PROXY_TRANSPORT_TOKEN_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace unlearn {

// What a caller may do. An admin may do all that a user may.
enum class Role { kUser, kAdmin };

struct RoleToken {
  Role role = Role::kUser;
  std::string token;
};

// Lines `<role> <token>`, role `user` or `admin`; empty lines and those that begin with # do not
// count. Errors name file and line, never a token: PERMISSION_DENIED where others than owner and
// group could read the file or others than the owner could write it, INVALID_ARGUMENT for a bad
// line, a token given twice or a file without tokens, NOT_FOUND.
absl::StatusOr<std::vector<RoleToken>> ReadTokenFile(const std::string& path);

// The one token of a client's file: a line `<token>` or `<role> <token>`. The same errors;
// INVALID_ARGUMENT for more than one token.
absl::StatusOr<std::string> ReadClientToken(const std::string& path);

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_TOKEN_FILE_H_
