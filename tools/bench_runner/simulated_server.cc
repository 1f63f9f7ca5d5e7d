#include "tools/bench_runner/simulated_server.h"

#include <utility>

#include "offset/base/status_macros.h"

namespace unlearn {

absl::StatusOr<std::unique_ptr<SimulatedServer>> SimulatedServer::Start(Upstream* model,
                                                                        const std::string& listen) {
  auto server = std::unique_ptr<SimulatedServer>(new SimulatedServer(model));
  ServerOptions options;
  options.listen = {listen};
  options.handle_signals = false;
  options.drain_timeout = absl::Seconds(1);
  ASSIGN_OR_RETURN(server->runner_, ServerRunner::Start(std::move(options),
                                                        {{&server->service_,
                                                          v1::UpstreamService::service_full_name(),
                                                          /*serving=*/true}}));
  return server;
}

}  // namespace unlearn
