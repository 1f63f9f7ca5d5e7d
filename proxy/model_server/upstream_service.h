#ifndef PROXY_MODEL_SERVER_UPSTREAM_SERVICE_H_
#define PROXY_MODEL_SERVER_UPSTREAM_SERVICE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "proxy/transport/authenticator.h"
#include "proxy/upstream/upstream.h"
#include "unlearn/v1/upstream.grpc.pb.h"

namespace unlearn {

struct UpstreamServiceOptions {
  // Asked before every call; null: everyone may call. Outlives the service.
  const Authenticator* authenticator = nullptr;
  int max_sessions = 1024;
  // Added to every step, as if the model took that much longer: a stand-in for a big model in
  // benchmarks. Steps of different sessions wait at the same time.
  absl::Duration delay;
  // Where the metrics live; null: nowhere.
  std::shared_ptr<prometheus::Registry> registry;
  // Free positions of the KV cache, for the metric; may be empty.
  std::function<int64_t()> free_tokens;
};

// Serves one Upstream as unlearn.v1.UpstreamService. An error of a step ends its stream with that
// status. Thread-safe.
class UpstreamServiceImpl
    : public v1::UpstreamService::WithCallbackMethod_GetModelInfo<
          // Its messages as bytes: protobuf's own would hold the logits once more.
          v1::UpstreamService::WithRawCallbackMethod_Session<v1::UpstreamService::Service>> {
 public:
  // `upstream` outlives the service.
  UpstreamServiceImpl(Upstream* upstream, UpstreamServiceOptions options);

  grpc::ServerUnaryReactor* GetModelInfo(grpc::CallbackServerContext* context,
                                         const v1::GetModelInfoRequest* request,
                                         v1::ModelInfo* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Session(
      grpc::CallbackServerContext* context) override;

  int sessions() const { return sessions_.load(); }

 private:
  class SessionReactor;

  struct Metrics {
    explicit Metrics(prometheus::Registry& registry);
    prometheus::Gauge& sessions;
    prometheus::Gauge& free_tokens;
    prometheus::Counter& tokens;
    prometheus::Counter& answered_steps;
    prometheus::Counter& failed_steps;
    prometheus::Histogram& step_seconds;
  };

  void UpdateFreeTokens();

  Upstream* const upstream_;
  const UpstreamServiceOptions options_;
  const std::shared_ptr<prometheus::Registry> registry_;
  Metrics metrics_;
  std::atomic<int> sessions_ = 0;
};

}  // namespace unlearn

#endif  // PROXY_MODEL_SERVER_UPSTREAM_SERVICE_H_
