#ifndef PROXY_UPSTREAM_SAMPLING_PROBE_H_
#define PROXY_UPSTREAM_SAMPLING_PROBE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// Whether a server that says it draws tokens from M's law does so: lets it draw some hundred at
// temperature 1 and some at 1/4 (a server that ignores temperatures passes one of them at most),
// and compares each with the law that was told for its position. A neutral server fails in one of a
// million cases at most (see DrawEvidence). The 576 draws of a quick
// server find a nucleus of 0.95 or any stronger cut; what changes the law by a few percent is not
// found.
//
// Not OK says why the server cannot be trusted to draw, or that this could not be found out. Ends
// within about twice `limit` after the first token, for which ten times as much is allowed (servers
// load things for the first); one that draws fewer than 100 tokens within `limit` is too slow.
absl::Status ProbeSampling(
    const std::function<absl::StatusOr<std::unique_ptr<UpstreamSession>>()>& new_session,
    const std::vector<int32_t>& prompt, absl::Duration limit);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_SAMPLING_PROBE_H_
