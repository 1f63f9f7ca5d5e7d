#ifndef TRAINER_SERVER_TRAINER_FLAGS_H_
#define TRAINER_SERVER_TRAINER_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/flags/declare.h"
#include "absl/time/time.h"

// The flags of unlearn_trainer besides those of every server (proxy/transport/server_flags.h) and
// those of the upstream (proxy/upstream/flags/upstream_flags.h).
ABSL_DECLARE_FLAG(std::string, pair);
ABSL_DECLARE_FLAG(std::string, pair_dtype);
ABSL_DECLARE_FLAG(std::string, store);
ABSL_DECLARE_FLAG(std::string, store_key_file);
ABSL_DECLARE_FLAG(std::string, state);
ABSL_DECLARE_FLAG(std::vector<std::string>, proxy);
ABSL_DECLARE_FLAG(std::string, proxy_tls_ca);
ABSL_DECLARE_FLAG(std::string, proxy_tls_cert);
ABSL_DECLARE_FLAG(std::string, proxy_tls_key);
ABSL_DECLARE_FLAG(std::string, proxy_token_file);
ABSL_DECLARE_FLAG(absl::Duration, failed_retention);
ABSL_DECLARE_FLAG(std::string, device);
ABSL_DECLARE_FLAG(int32_t, threads);
ABSL_DECLARE_FLAG(std::string, public_data);
ABSL_DECLARE_FLAG(std::string, prompt_template);
ABSL_DECLARE_FLAG(std::string, refusals);
ABSL_DECLARE_FLAG(std::string, objective);
ABSL_DECLARE_FLAG(int32_t, steps);
ABSL_DECLARE_FLAG(int32_t, batch_size);
ABSL_DECLARE_FLAG(int32_t, bystanders);
ABSL_DECLARE_FLAG(double, learning_rate);
ABSL_DECLARE_FLAG(int32_t, rank);
ABSL_DECLARE_FLAG(double, alpha);
ABSL_DECLARE_FLAG(double, forget_alpha);
ABSL_DECLARE_FLAG(double, keep_alpha);
ABSL_DECLARE_FLAG(uint64_t, seed);
ABSL_DECLARE_FLAG(double, max_forget_rate);
ABSL_DECLARE_FLAG(double, min_keep_agreement);

#endif  // TRAINER_SERVER_TRAINER_FLAGS_H_
