#ifndef PROXY_SERVER_PROXY_FLAGS_H_
#define PROXY_SERVER_PROXY_FLAGS_H_

#include <cstdint>
#include <string>

#include "absl/flags/declare.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

// The flags of unlearn_proxy besides those of every server (proxy/transport/server_flags.h) and
// those of the upstream (proxy/upstream/flags/upstream_flags.h).
ABSL_DECLARE_FLAG(std::string, pair);
ABSL_DECLARE_FLAG(std::string, pair_dtype);
ABSL_DECLARE_FLAG(std::string, store);
ABSL_DECLARE_FLAG(std::string, store_key_file);
ABSL_DECLARE_FLAG(int64_t, kv_cache_tokens);
ABSL_DECLARE_FLAG(int32_t, max_streams);
ABSL_DECLARE_FLAG(double, max_truncated_mass);
ABSL_DECLARE_FLAG(int32_t, threads);
ABSL_DECLARE_FLAG(std::string, device);
ABSL_DECLARE_FLAG(absl::Duration, store_poll);
ABSL_DECLARE_FLAG(absl::Duration, fingerprint_every);

namespace unlearn {

// INVALID_ARGUMENT names the flag, its value and what is allowed.
absl::Status CheckProxyFlags();

}  // namespace unlearn

#endif  // PROXY_SERVER_PROXY_FLAGS_H_
