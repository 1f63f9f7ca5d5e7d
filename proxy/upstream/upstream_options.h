#ifndef PROXY_UPSTREAM_UPSTREAM_OPTIONS_H_
#define PROXY_UPSTREAM_UPSTREAM_OPTIONS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proxy/transport/tls_files.h"
#include "proxy/upstream/upstream.h"

// What several kinds read from UpstreamOptions.
namespace unlearn {

// INVALID_ARGUMENT names `what`.
absl::StatusOr<absl::Duration> PositiveSeconds(double seconds, absl::string_view what);

TlsFiles TlsOf(const UpstreamOptions& options);

// INVALID_ARGUMENT where the operator did not say which tokens end a text, though `server`
// ("a kserve upstream") cannot tell.
absl::Status RequireEosIds(const UpstreamOptions& options, absl::string_view server);
// INVALID_ARGUMENT for one that M does not have.
absl::Status CheckEosIds(const UpstreamOptions& options, int32_t vocab_size);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_UPSTREAM_OPTIONS_H_
