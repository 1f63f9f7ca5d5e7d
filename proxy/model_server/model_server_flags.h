#ifndef PROXY_MODEL_SERVER_MODEL_SERVER_FLAGS_H_
#define PROXY_MODEL_SERVER_MODEL_SERVER_FLAGS_H_

#include <cstdint>
#include <string>

#include "absl/flags/declare.h"

// What unlearn_model_server has besides the flags of every server (proxy/transport/server_flags.h).
ABSL_DECLARE_FLAG(std::string, model);
ABSL_DECLARE_FLAG(std::string, device);
ABSL_DECLARE_FLAG(int32_t, threads);
ABSL_DECLARE_FLAG(std::string, dtype);
ABSL_DECLARE_FLAG(int64_t, kv_cache_tokens);
ABSL_DECLARE_FLAG(int32_t, max_sessions);
ABSL_DECLARE_FLAG(double, delay_ms);

#endif  // PROXY_MODEL_SERVER_MODEL_SERVER_FLAGS_H_
