#ifndef PROXY_UPSTREAM_FLAGS_UPSTREAM_FLAGS_H_
#define PROXY_UPSTREAM_FLAGS_UPSTREAM_FLAGS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// Opens the large model that --upstream and the --upstream_* flags name; shared by the proxy and
// the trainer. INVALID_ARGUMENT when --upstream is empty.
absl::StatusOr<std::unique_ptr<Upstream>> OpenUpstreamFromFlags();

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_FLAGS_UPSTREAM_FLAGS_H_
