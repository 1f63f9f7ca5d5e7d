#ifndef TOOLS_BENCH_RUNNER_BARE_STREAMS_H_
#define TOOLS_BENCH_RUNNER_BARE_STREAMS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// What M's own tokens cost without a proxy: one session a prompt, all at once, each decoding
// `tokens` greedy tokens. Returns when the last is there, with the first error if there was one.
absl::Status DecodeBare(Upstream& upstream, const std::vector<std::vector<int32_t>>& prompts,
                        int tokens);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_BARE_STREAMS_H_
