#include "proxy/transport/metrics_endpoint.h"

#include <unistd.h>

#include <exception>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"

namespace unlearn {

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& listen, const std::string& port_file,
    std::shared_ptr<prometheus::Registry> registry) {
  const size_t colon = listen.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == listen.size() ||
      listen.find_first_of(", ") != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("--metrics_listen: \"", listen, "\" is not IP:PORT"));
  }
  std::unique_ptr<MetricsEndpoint> endpoint(new MetricsEndpoint());
  endpoint->registry_ = std::move(registry);
  try {  // the one library here that reports a used port with an exception
    endpoint->exposer_ = std::make_unique<prometheus::Exposer>(listen);
    endpoint->exposer_->RegisterCollectable(endpoint->registry_);
    const std::vector<int> ports = endpoint->exposer_->GetListeningPorts();
    if (!ports.empty()) endpoint->port_ = ports[0];
  } catch (const std::exception&) {
    return absl::UnavailableError(
        absl::StrCat("--metrics_listen: cannot listen on ", listen,
                     "; is the port in use, and the host an IP address of this machine?"));
  }
  if (!port_file.empty()) {
    const std::string path = absl::StrCat(port_file, ".metrics");
    const absl::Status written =
        WriteFileAtomically(path, absl::StrCat(endpoint->port_, "\n"), 0644);
    if (!written.ok()) {
      return absl::Status(written.code(), absl::StrCat("--port_file: ", written.message()));
    }
    endpoint->port_file_ = path;
  }
  return endpoint;
}

MetricsEndpoint::~MetricsEndpoint() {
  if (!port_file_.empty()) unlink(port_file_.c_str());
}

}  // namespace unlearn
