#ifndef TOOLS_BENCH_RUNNER_PROXIED_STREAMS_H_
#define TOOLS_BENCH_RUNNER_PROXIED_STREAMS_H_

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "offset/model/lora.h"
#include "proto/unlearn/v1/generation.pb.h"
#include "tools/harness/asker.h"

namespace unlearn {

// Publishes and activates a version with one adapter, as the trainer would. The store must hold
// version 0.
absl::StatusOr<uint64_t> PublishAdapter(const std::string& store, const std::string& store_key_file,
                                        const LoraAdapter& adapter);

// Returns when the proxy serves the version.
absl::Status WaitForVersion(const std::string& proxy_address, uint64_t version);

// Asks the proxy who it is a few times a second, as long as this lives. gRPC 1.51's threads sleep
// for a tenth of a second after a second without any call, which a proxy in use does not know, but
// one that waits for its turn in a comparison does.
class KeptAwake {
 public:
  explicit KeptAwake(const std::string& proxy_address);
  ~KeptAwake();

 private:
  absl::Notification stop_;
  std::thread thread_;
};

// `count` prompts of `tokens` ids each, all different.
std::vector<std::vector<int32_t>> BenchPrompts(int count, int tokens, int vocabulary);

// What the streams of one decoding ask the proxy for.
struct ProxiedOptions {
  int tokens = 48;
  uint64_t version = 0;  // that all tokens must come from
  v1::Decoding decoding = v1::DECODING_AUTO;
};

// All prompts at once through the proxy, greedily. The streams' tokens in order; the first error if
// there was one, INTERNAL for a stream that is not as was asked for.
absl::StatusOr<std::vector<std::vector<int32_t>>> DecodeProxied(
    const Asker& asker, const std::vector<std::vector<int32_t>>& prompts,
    const ProxiedOptions& options);

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_PROXIED_STREAMS_H_
