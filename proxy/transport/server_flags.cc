#include "proxy/transport/server_flags.h"

#include "absl/flags/flag.h"

ABSL_FLAG(std::vector<std::string>, listen, {"127.0.0.1:0"},
          "Addresses to serve on, separated by commas: HOST:PORT (port 0: any free one) or "
          "unix:PATH.");
ABSL_FLAG(std::string, port_file, "",
          "File written once the server answers: the port of each TCP address or unix:PATH, one a "
          "line; <port_file>.metrics beside it holds the port of --metrics_listen.");
ABSL_FLAG(std::string, metrics_listen, "",
          "IP:PORT of Prometheus metrics over HTTP (GET /metrics); empty: none.");
ABSL_FLAG(std::string, tls_cert, "", "PEM file with the server's certificate chain.");
ABSL_FLAG(std::string, tls_key, "", "PEM file with the private key of --tls_cert.");
ABSL_FLAG(std::string, tls_ca, "",
          "PEM file with the certificates that must have signed a client's; with it, clients "
          "without a certificate are refused.");
ABSL_FLAG(std::string, token_file, "",
          "File with lines `<role> <token>`, role user or admin. Without it everybody is a user "
          "and nobody an admin.");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30),
          "How long running calls may go on after SIGTERM before they are cancelled.");
ABSL_FLAG(std::string, config, "",
          "Settings in protobuf text format, one field per flag. A flag wins over the environment "
          "variable UNLEARN_<FLAG>, which wins over this file.");
ABSL_FLAG(bool, validate_only, false, "Check the settings and what they name, then exit.");

namespace unlearn {

ServerOptions ServerOptionsFromFlags() {
  ServerOptions options;
  options.listen = absl::GetFlag(FLAGS_listen);
  options.port_file = absl::GetFlag(FLAGS_port_file);
  options.metrics_listen = absl::GetFlag(FLAGS_metrics_listen);
  options.tls_cert = absl::GetFlag(FLAGS_tls_cert);
  options.tls_key = absl::GetFlag(FLAGS_tls_key);
  options.tls_ca = absl::GetFlag(FLAGS_tls_ca);
  options.token_file = absl::GetFlag(FLAGS_token_file);
  options.drain_timeout = absl::GetFlag(FLAGS_drain_timeout);
  return options;
}

}  // namespace unlearn
