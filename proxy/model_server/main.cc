// unlearn_model_server: serves a model folder over unlearn.v1.UpstreamService.

#include <ATen/Parallel.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "offset/base/log.h"
#include "offset/base/settings.h"
#include "offset/base/status_macros.h"
#include "offset/cuda/device_flag.h"
#include "prometheus/registry.h"
#include "proxy/model_server/model_server_flags.h"
#include "proxy/model_server/upstream_service.h"
#include "proxy/transport/authenticator.h"
#include "proxy/transport/metrics_endpoint.h"
#include "proxy/transport/server_flags.h"
#include "proxy/transport/server_runner.h"
#include "proxy/upstream/local_upstream.h"
#include "unlearn/v1/config.pb.h"

namespace unlearn {
namespace {

absl::Status CheckFlags() {
  if (absl::GetFlag(FLAGS_model).empty()) {
    return absl::InvalidArgumentError(
        "--model: give the folder of a model (config.json, "
        "model.safetensors, tokenizer.json)");
  }
  RETURN_IF_ERROR(CheckCpuOnlyDeviceFlag(absl::GetFlag(FLAGS_device)));
  if (absl::GetFlag(FLAGS_threads) < 0) {
    return absl::InvalidArgumentError(absl::StrCat("--threads: ", absl::GetFlag(FLAGS_threads),
                                                   " is negative; 0 uses every core"));
  }
  if (absl::GetFlag(FLAGS_max_sessions) < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--max_sessions: ", absl::GetFlag(FLAGS_max_sessions), " is not a number from 1 up"));
  }
  const double delay_ms = absl::GetFlag(FLAGS_delay_ms);
  if (!std::isfinite(delay_ms) || delay_ms < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--delay_ms: ", delay_ms, " is not a number of milliseconds from 0 up"));
  }
  return absl::OkStatus();
}

absl::Status Run() {
  RETURN_IF_ERROR(LoadSettings(v1::ModelServerConfig(), absl::GetFlag(FLAGS_config)));
  RETURN_IF_ERROR(CheckFlags());
  const ServerOptions server_options = ServerOptionsFromFlags();
  ASSIGN_OR_RETURN(const std::unique_ptr<Authenticator> authenticator,
                   Authenticator::Load(server_options.token_file));
  if (absl::GetFlag(FLAGS_threads) > 0) at::set_num_threads(absl::GetFlag(FLAGS_threads));

  UpstreamOptions upstream_options;
  upstream_options.dtype = absl::GetFlag(FLAGS_dtype);
  upstream_options.kv_cache_tokens = absl::GetFlag(FLAGS_kv_cache_tokens);
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalUpstream> upstream,
                   LocalUpstream::Open(absl::GetFlag(FLAGS_model), upstream_options));
  const UpstreamInfo& info = upstream->info();
  LogInfo("model ", info.model_id, ": vocabulary ", info.vocab_size, ", context ", info.max_context,
          " tokens, KV cache ", upstream->total_tokens(), " tokens, weights ",
          info.weights_fingerprint.substr(0, 12));
  if (absl::GetFlag(FLAGS_validate_only)) return absl::OkStatus();

  UpstreamServiceOptions service_options;
  service_options.authenticator = authenticator.get();
  service_options.max_sessions = absl::GetFlag(FLAGS_max_sessions);
  service_options.delay = absl::Milliseconds(absl::GetFlag(FLAGS_delay_ms));
  service_options.registry = std::make_shared<prometheus::Registry>();
  service_options.free_tokens = [&upstream] { return upstream->free_tokens(); };
  if (service_options.delay > absl::ZeroDuration()) {
    LogWarning("--delay_ms: every step takes ", absl::FormatDuration(service_options.delay),
               " longer than this model needs");
  }
  std::unique_ptr<MetricsEndpoint> metrics;
  if (!server_options.metrics_listen.empty()) {
    ASSIGN_OR_RETURN(metrics,
                     MetricsEndpoint::Start(server_options.metrics_listen, server_options.port_file,
                                            service_options.registry));
  }
  UpstreamServiceImpl service(upstream.get(), std::move(service_options));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<ServerRunner> runner,
      ServerRunner::Start(server_options, {{&service, v1::UpstreamService::service_full_name()}}));
  const absl::Status status = runner->Wait();
  // Sessions that the end of draining cut off get UNAVAILABLE at the client; nothing is lost here.
  if (absl::IsDeadlineExceeded(status)) LogWarning(status.message());
  return absl::IsDeadlineExceeded(status) ? absl::OkStatus() : status;
}

}  // namespace
}  // namespace unlearn

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Serves a model's next-token logits to unlearn_proxy and unlearn_trainer.\n"
      "  unlearn_model_server --model DIR --listen 127.0.0.1:7001");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    std::fprintf(stderr, "unlearn_model_server: unexpected argument %s; see --help\n", rest[1]);
    return 2;
  }
  const absl::Status status = unlearn::Run();
  if (!status.ok()) {
    unlearn::LogError(status.message());
    return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
  }
  return 0;
}
