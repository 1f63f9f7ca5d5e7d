#ifndef PROXY_TRANSPORT_SERVER_FLAGS_H_
#define PROXY_TRANSPORT_SERVER_FLAGS_H_

#include <string>
#include <vector>

#include "absl/flags/declare.h"
#include "absl/time/time.h"
#include "proxy/transport/server_runner.h"

// The flags that every server has. --config is read by LoadSettings (offset/base/settings.h);
// --validate_only is for main(): check everything, serve nothing, exit 0.
ABSL_DECLARE_FLAG(std::vector<std::string>, listen);
ABSL_DECLARE_FLAG(std::string, port_file);
ABSL_DECLARE_FLAG(std::string, metrics_listen);
ABSL_DECLARE_FLAG(std::string, tls_cert);
ABSL_DECLARE_FLAG(std::string, tls_key);
ABSL_DECLARE_FLAG(std::string, tls_ca);
ABSL_DECLARE_FLAG(std::string, token_file);
ABSL_DECLARE_FLAG(absl::Duration, drain_timeout);
ABSL_DECLARE_FLAG(std::string, config);
ABSL_DECLARE_FLAG(bool, validate_only);

namespace unlearn {

ServerOptions ServerOptionsFromFlags();

}  // namespace unlearn

#endif  // PROXY_TRANSPORT_SERVER_FLAGS_H_
