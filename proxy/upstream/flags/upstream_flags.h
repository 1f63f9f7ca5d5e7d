#ifndef PROXY_UPSTREAM_FLAGS_UPSTREAM_FLAGS_H_
#define PROXY_UPSTREAM_FLAGS_UPSTREAM_FLAGS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "prometheus/registry.h"
#include "proxy/upstream/guarded_upstream.h"

namespace unlearn {

// Opens the large model that --upstream and the --upstream_* flags name, guarded; shared by the
// proxy and the trainer. `check_every`: how often it is asked whether it is still the model that
// was confirmed. INVALID_ARGUMENT when --upstream is empty, or for another flag, by its name.
absl::StatusOr<std::unique_ptr<GuardedUpstream>> OpenUpstreamFromFlags(
    absl::Duration check_every, std::shared_ptr<prometheus::Registry> registry);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_FLAGS_UPSTREAM_FLAGS_H_
