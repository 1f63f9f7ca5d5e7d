#ifndef TOOLS_BENCH_RUNNER_SIMULATED_SERVER_H_
#define TOOLS_BENCH_RUNNER_SIMULATED_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proxy/model_server/upstream_service.h"
#include "proxy/transport/server_runner.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// A model behind the service and the sockets of unlearn_model_server, in this process.
class SimulatedServer {
 public:
  // `listen` is HOST:PORT (port 0: any) or unix:PATH; `model` outlives this.
  static absl::StatusOr<std::unique_ptr<SimulatedServer>> Start(Upstream* model,
                                                                const std::string& listen);
  // As clients dial it.
  const std::string& address() const { return runner_->addresses()[0]; }

 private:
  explicit SimulatedServer(Upstream* model) : service_(model, {}) {}
  UpstreamServiceImpl service_;
  std::unique_ptr<ServerRunner> runner_;
};

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_SIMULATED_SERVER_H_
