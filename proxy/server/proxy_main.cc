// unlearn_proxy: answers clients with the ensemble of M and the active offset version.

#include <ATen/Parallel.h>

#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "offset/base/log.h"
#include "offset/base/settings.h"
#include "offset/base/status_macros.h"
#include "offset/cuda/cuda_backend_loader.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/pair/pair_engine.h"
#include "offset/store/version_store.h"
#include "offset/text/tokenizer.h"
#include "proto/unlearn/v1/config.pb.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/server/generation_service.h"
#include "proxy/server/offset_service.h"
#include "proxy/server/proxy_flags.h"
#include "proxy/server/version_manager.h"
#include "proxy/transport/authenticator.h"
#include "proxy/transport/metrics_endpoint.h"
#include "proxy/transport/server_flags.h"
#include "proxy/transport/server_runner.h"
#include "proxy/upstream/flags/upstream_flags.h"
#include "proxy/upstream/shared_vocabulary.h"

namespace unlearn {
namespace {

int64_t CacheTokens(const ModelConfig& config) {
  const int64_t asked = absl::GetFlag(FLAGS_kv_cache_tokens);
  const int64_t bytes_per_token =
      2 * config.num_layers * config.num_kv_heads * config.head_dim * sizeof(float);
  const int64_t tokens = asked > 0 ? asked
                                   : std::min<int64_t>(64 * config.max_positions,
                                                       (int64_t{2} << 30) / bytes_per_token);
  return 2 * tokens;  // the reference's and the offset's
}

absl::Status RunProxy() {
  RETURN_IF_ERROR(CheckProxyFlags());
  if (absl::GetFlag(FLAGS_threads) > 0) at::set_num_threads(absl::GetFlag(FLAGS_threads));
  const ServerOptions server_options = ServerOptionsFromFlags();
  ASSIGN_OR_RETURN(const auto authenticator, Authenticator::Load(server_options.token_file));

  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(absl::GetFlag(FLAGS_pair)));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(checkpoint->tokenizer_path()));
  const std::string dtype = absl::GetFlag(FLAGS_pair_dtype);
  const bool bf16 = dtype == "bf16" || (dtype == "auto" && checkpoint->is_bf16());
  ASSIGN_OR_RETURN(std::shared_ptr<const Decoder> base,
                   Decoder::Load(*checkpoint, bf16 ? at::kBFloat16 : at::kFloat));
  ASSIGN_OR_RETURN(SealingKey key, SealingKey::Load(absl::GetFlag(FLAGS_store_key_file)));
  ASSIGN_OR_RETURN(const auto store,
                   VersionStore::Open(absl::GetFlag(FLAGS_store), std::move(key)));
  const auto registry = std::make_shared<prometheus::Registry>();
  ASSIGN_OR_RETURN(const std::unique_ptr<GuardedUpstream> upstream,
                   OpenUpstreamFromFlags(absl::GetFlag(FLAGS_fingerprint_every), registry));

  const UpstreamInfo& model = upstream->info();
  RETURN_IF_ERROR(CheckSharedVocabulary(model, absl::GetFlag(FLAGS_pair), tokenizer->fingerprint(),
                                        base->config().vocab_size));
  RETURN_IF_ERROR(CompareTokenizers(*upstream, absl::GetFlag(FLAGS_pair), *tokenizer));
  const int32_t max_context =
      static_cast<int32_t>(std::min<int64_t>(model.max_context, base->config().max_positions));

  ASSIGN_OR_RETURN(const DeviceFlag device, ParseDeviceFlag(absl::GetFlag(FLAGS_device)));
  ASSIGN_OR_RETURN(
      std::unique_ptr<PairBackend> backend,
      MakePairBackend(device, base, {CacheTokens(base->config()), /*fp32=*/dtype == "fp32"}));

  SchedulerMetrics metrics(*registry);
  Scheduler::Options scheduler_options;
  scheduler_options.tokens = tokenizer->vocab_size();
  scheduler_options.max_streams = absl::GetFlag(FLAGS_max_streams);
  scheduler_options.max_truncated_mass = absl::GetFlag(FLAGS_max_truncated_mass);
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Scheduler> scheduler,
      Scheduler::Create(upstream.get(), std::make_unique<PairEngine>(std::move(backend)),
                        scheduler_options, &metrics));
  VersionManager::Options version_options;
  version_options.poll = absl::GetFlag(FLAGS_store_poll);
  version_options.warm = [&](const std::shared_ptr<const LoraStack>& stack) {
    return scheduler->Warm(stack);
  };
  VersionManager versions(store.get(), upstream.get(), base, checkpoint->Fingerprint(),
                          tokenizer->fingerprint(), version_options, *registry);
  if (absl::GetFlag(FLAGS_validate_only)) {
    RETURN_IF_ERROR(versions.problem());
    std::cout << "the configuration is valid\n";
    return absl::OkStatus();
  }
  GenerationService generation(scheduler.get(), &versions, upstream.get(), tokenizer, max_context,
                               authenticator.get());
  OffsetService offsets(store.get(), &versions, scheduler.get(), authenticator.get());

  std::unique_ptr<MetricsEndpoint> endpoint;
  if (!server_options.metrics_listen.empty()) {
    ASSIGN_OR_RETURN(endpoint, MetricsEndpoint::Start(server_options.metrics_listen,
                                                      server_options.port_file, registry));
  }
  const std::string generation_name = v1::GenerationService::service_full_name();
  const bool serving = versions.Current().ok();
  ASSIGN_OR_RETURN(const auto runner,
                   ServerRunner::Start(server_options,
                                       {{&generation, generation_name, serving},
                                        {&offsets, v1::OffsetService::service_full_name(), true}}));
  versions.OnServingChange([&](bool now) {
    const absl::Status ignored = runner->SetServing(generation_name, now);
    (void)ignored;  // only a name that is not served can fail
  });
  LogInfo("unlearn_proxy answers on ", runner->addresses()[0], " for ", model.model_id);
  const absl::Status result = runner->Wait();
  versions.OnServingChange(nullptr);
  if (absl::IsDeadlineExceeded(result)) LogWarning(result.message());
  return absl::OkStatus();
}

}  // namespace
}  // namespace unlearn

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Serves a large language model under its active offset version (gRPC).\n"
      "  unlearn_proxy --upstream native:HOST:PORT --pair DIR --store DIR --store_key_file F");
  absl::ParseCommandLine(argc, argv);
  absl::Status status =
      unlearn::LoadSettings(unlearn::v1::ProxyConfig(), absl::GetFlag(FLAGS_config));
  if (status.ok()) status = unlearn::RunProxy();
  if (status.ok()) return 0;
  std::cerr << "unlearn_proxy: " << status.message() << "\n";
  return 1;
}
