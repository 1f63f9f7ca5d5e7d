#ifndef PROXY_TRANSPORT_METRICS_ENDPOINT_H_
#define PROXY_TRANSPORT_METRICS_ENDPOINT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "prometheus/exposer.h"
#include "prometheus/registry.h"

namespace unlearn {

// GET /metrics over HTTP in the Prometheus text format. main() owns the one registry and hands it
// to everything that counts. Thread-safe.
class MetricsEndpoint {
 public:
  // `listen` is `HOST:PORT` with an IP address (port 0: any free one). The port is written to
  // `<port_file>.metrics` unless port_file is empty; start this before the ServerRunner, whose own
  // port file says that all is ready. INVALID_ARGUMENT or UNAVAILABLE naming --metrics_listen.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(
      const std::string& listen, const std::string& port_file,
      std::shared_ptr<prometheus::Registry> registry);
  // Removes the port file.
  ~MetricsEndpoint();

  int port() const { return port_; }

 private:
  MetricsEndpoint() = default;
  std::shared_ptr<prometheus::Registry> registry_;  // the exposer keeps only a weak pointer
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string port_file_;
  int port_ = 0;
};

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_METRICS_ENDPOINT_H_
