#include "proxy/upstream/flags/upstream_flags.h"

#include <string>

#include "absl/flags/flag.h"
#include "absl/time/time.h"

ABSL_FLAG(std::string, upstream, "",
          "The large model M: native:HOST:PORT or native:unix:PATH (an unlearn_model_server), or "
          "local:DIR (an HF model folder, run in this process). Required.");
ABSL_FLAG(std::string, upstream_encoding, "fp32",
          "native: how logits travel, fp32 (exact), fp16 (row maximum subtracted) or bf16.");
ABSL_FLAG(std::string, upstream_tls_ca, "", "native: PEM file that M's server is checked against.");
ABSL_FLAG(std::string, upstream_tls_cert, "", "native: our PEM certificate, where M asks for one.");
ABSL_FLAG(std::string, upstream_tls_key, "", "native: the key of --upstream_tls_cert.");
ABSL_FLAG(std::string, upstream_token_file, "", "native: file whose token goes with every call.");
ABSL_FLAG(absl::Duration, upstream_connect_timeout, absl::Seconds(10),
          "How long M may take to answer at start-up before this server gives up.");
ABSL_FLAG(absl::Duration, upstream_step_timeout, absl::Seconds(120),
          "How long one step of M may take before its stream fails with DEADLINE_EXCEEDED.");

namespace unlearn {

absl::StatusOr<std::unique_ptr<Upstream>> OpenUpstreamFromFlags() {
  const std::string spec = absl::GetFlag(FLAGS_upstream);
  if (spec.empty()) {
    return absl::InvalidArgumentError(
        "--upstream is empty: name the large model, for example --upstream native:127.0.0.1:8700");
  }
  UpstreamOptions options;
  options.connect_timeout_seconds =
      absl::ToDoubleSeconds(absl::GetFlag(FLAGS_upstream_connect_timeout));
  options.step_timeout_seconds = absl::ToDoubleSeconds(absl::GetFlag(FLAGS_upstream_step_timeout));
  options.encoding = absl::GetFlag(FLAGS_upstream_encoding);
  options.tls_ca = absl::GetFlag(FLAGS_upstream_tls_ca);
  options.tls_cert = absl::GetFlag(FLAGS_upstream_tls_cert);
  options.tls_key = absl::GetFlag(FLAGS_upstream_tls_key);
  options.token_file = absl::GetFlag(FLAGS_upstream_token_file);
  return OpenUpstream(spec, options);
}

}  // namespace unlearn
