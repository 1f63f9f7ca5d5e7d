#ifndef OFFSET_STORE_VERSION_RULES_H_
#define OFFSET_STORE_VERSION_RULES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "unlearn/v1/manifest.pb.h"

namespace unlearn {

// Pure rules about versions, the same for the store, the proxy (pinning) and the trainer.
// All are thread-safe.

// The deletion requests in force while this version serves. At alpha = 0 the ensemble is M itself,
// so that nothing is in force, whatever the manifest lists.
std::vector<std::string> EnforcedRequests(const v1::Manifest& manifest);

// The requests that are in force under `from` and would no longer be under `to`, in `from`'s order.
std::vector<std::string> RequestsLost(const v1::Manifest& from, const v1::Manifest& to);
std::vector<std::string> RequestsLost(absl::Span<const std::string> enforced,
                                      const v1::Manifest& to);

// The rule that nobody un-forgets by accident: FAILED_PRECONDITION, naming the requests and
// --reintroduce, unless each lost request is listed in `reintroduce`. `action` begins the message:
// "activating version 3".
absl::Status CheckNothingUnforgotten(absl::string_view action, absl::Span<const std::string> lost,
                                     absl::Span<const std::string> reintroduce);

// Request ids become parts of file names: 1 to 128 of [A-Za-z0-9_.-], not beginning with a dot.
bool IsValidRequestId(absl::string_view request_id);

// "adapter-<request id>.sealed"
std::string AdapterFileName(absl::string_view request_id);

// Whether this release can serve what the manifest describes: alpha finite and >= 0, a known
// combiner, well-formed and distinct requests, an adapter for none but listed requests.
// INVALID_ARGUMENT naming the field.
absl::Status CheckManifest(const v1::Manifest& manifest);

}  // namespace unlearn

#endif  // OFFSET_STORE_VERSION_RULES_H_
