#include "proxy/transport/authenticator.h"

#include <openssl/crypto.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "offset/base/sha256.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

constexpr char kMetadataKey[] = "authorization";
constexpr absl::string_view kScheme = "Bearer ";

}  // namespace

absl::StatusOr<std::unique_ptr<Authenticator>> Authenticator::Load(const std::string& token_file) {
  auto authenticator = std::make_unique<Authenticator>();
  if (token_file.empty()) return authenticator;
  ASSIGN_OR_RETURN(const std::vector<RoleToken> tokens, ReadTokenFile(token_file));
  for (const RoleToken& token : tokens) {
    authenticator->entries_.push_back({Sha256Hex(token.token), token.role});
  }
  return authenticator;
}

absl::StatusOr<Caller> Authenticator::Authenticate(const grpc::ServerContextBase& context) const {
  if (entries_.empty()) return Caller();
  const auto& metadata = context.client_metadata();
  const auto range = metadata.equal_range(kMetadataKey);
  if (range.first == range.second) {
    return absl::UnauthenticatedError(
        "this server wants a token and the call has none; give the client --token_file FILE");
  }
  if (std::next(range.first) != range.second) {
    return absl::UnauthenticatedError("the call has more than one `authorization` header");
  }
  const absl::string_view header(range.first->second.data(), range.first->second.size());
  if (!absl::StartsWithIgnoreCase(header, kScheme)) {
    return absl::UnauthenticatedError("the `authorization` header is not `Bearer TOKEN`");
  }
  const std::string digest = Sha256Hex(header.substr(kScheme.size()));
  // Looks at every entry, so that the time taken does not tell which one matched.
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.digest.data(), digest.data(), digest.size()) == 0) found = &entry;
  }
  if (found == nullptr) {
    return absl::UnauthenticatedError(
        "the server does not know this token; compare --token_file of client and server");
  }
  return Caller{found->role, absl::StrCat("token ", found - entries_.data() + 1)};
}

absl::Status Authenticator::Require(Role role, const grpc::ServerContextBase& context,
                                    const std::string& what) const {
  ASSIGN_OR_RETURN(const Caller caller, Authenticate(context));
  if (role == Role::kUser || caller.role == Role::kAdmin) return absl::OkStatus();
  if (entries_.empty()) {
    return absl::PermissionDeniedError(
        absl::StrCat(what,
                     " needs the role admin, and without tokens nobody has it; start the "
                     "server with --token_file FILE (lines `<role> <token>`)"));
  }
  return absl::PermissionDeniedError(
      absl::StrCat(what, " needs the role admin; the caller's token has the role user"));
}

}  // namespace unlearn
