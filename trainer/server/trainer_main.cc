// unlearn_trainer: takes deletion requests and turns them into offset versions.

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "offset/base/log.h"
#include "offset/base/settings.h"
#include "offset/base/status_macros.h"
#include "offset/cuda/device_flag.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/store/version_store.h"
#include "offset/text/tokenizer.h"
#include "proto/unlearn/v1/config.pb.h"
#include "proxy/transport/authenticator.h"
#include "proxy/transport/client_channel.h"
#include "proxy/transport/metrics_endpoint.h"
#include "proxy/transport/server_flags.h"
#include "proxy/transport/server_runner.h"
#include "proxy/upstream/flags/upstream_flags.h"
#include "trainer/data/item_check.h"
#include "trainer/ledger/enforcement.h"
#include "trainer/ledger/eraser.h"
#include "trainer/queue/request_queue.h"
#include "trainer/server/deletion_service.h"
#include "trainer/server/model_checked_trainer.h"
#include "trainer/server/request_metrics.h"
#include "trainer/server/request_runner.h"
#include "trainer/server/trainer_flags.h"
#include "trainer/train/lora_trainer.h"

namespace unlearn {
namespace {

absl::Status Wrong(absl::string_view flag, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, what));
}

absl::Status CheckFlags() {
  const std::pair<const char*, std::string> required[] = {
      {"pair", absl::GetFlag(FLAGS_pair)},
      {"store", absl::GetFlag(FLAGS_store)},
      {"store_key_file", absl::GetFlag(FLAGS_store_key_file)},
      {"state", absl::GetFlag(FLAGS_state)}};
  for (const auto& flag : required) {
    if (flag.second.empty()) return Wrong(flag.first, " is required; see --help");
  }
  RETURN_IF_ERROR(CheckCpuOnlyDeviceFlag(absl::GetFlag(FLAGS_device)));
  const std::string dtype = absl::GetFlag(FLAGS_pair_dtype);
  if (dtype != "fp32" && dtype != "bf16") {
    return Wrong("pair_dtype", absl::StrCat(" ", dtype, ": fp32 or bf16"));
  }
  if (absl::GetFlag(FLAGS_threads) < 0) return Wrong("threads", " is negative");
  if (absl::GetFlag(FLAGS_batch_size) < 2) return Wrong("batch_size", " must be 2 or more");
  if (absl::GetFlag(FLAGS_bystanders) < 0) return Wrong("bystanders", " is negative");
  if (absl::GetFlag(FLAGS_rank) < 1) return Wrong("rank", " must be 1 or more");
  if (absl::GetFlag(FLAGS_steps) < 1) return Wrong("steps", " must be 1 or more");
  if (!(absl::GetFlag(FLAGS_alpha) > 0)) return Wrong("alpha", " must be more than 0");
  if (!(absl::GetFlag(FLAGS_forget_alpha) > 0)) {
    return Wrong("forget_alpha", " must be more than 0");
  }
  if (!(absl::GetFlag(FLAGS_keep_alpha) > 0)) return Wrong("keep_alpha", " must be more than 0");
  v1::TrainingSettings settings;
  settings.set_objective(absl::GetFlag(FLAGS_objective));
  settings.set_steps(absl::GetFlag(FLAGS_steps));
  settings.set_learning_rate(absl::GetFlag(FLAGS_learning_rate));
  const absl::Status status = CheckTrainingSettings(settings);
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--objective, --steps, --learning_rate: ", status.message()));
  }
  return absl::OkStatus();
}

LoraTrainerOptions TrainingOptions() {
  LoraTrainerOptions options;
  options.prompt_template = absl::GetFlag(FLAGS_prompt_template);
  options.public_data = absl::GetFlag(FLAGS_public_data);
  options.refusals = absl::GetFlag(FLAGS_refusals);
  options.objective = absl::GetFlag(FLAGS_objective);
  options.steps = absl::GetFlag(FLAGS_steps);
  options.forget_batch = std::max(1, absl::GetFlag(FLAGS_batch_size) * 3 / 7);
  options.keep_batch = absl::GetFlag(FLAGS_batch_size) - options.forget_batch;
  options.bystander_batch = absl::GetFlag(FLAGS_bystanders);
  options.learning_rate = absl::GetFlag(FLAGS_learning_rate);
  options.rank = absl::GetFlag(FLAGS_rank);
  options.alpha = absl::GetFlag(FLAGS_alpha);
  options.margin.forget_alpha = absl::GetFlag(FLAGS_forget_alpha);
  options.margin.keep_alpha = absl::GetFlag(FLAGS_keep_alpha);
  options.seed = absl::GetFlag(FLAGS_seed);
  options.gate.max_forget_rate = absl::GetFlag(FLAGS_max_forget_rate);
  options.gate.min_keep_agreement = absl::GetFlag(FLAGS_min_keep_agreement);
  return options;
}

absl::StatusOr<std::vector<RegisteredProxy>> RegisteredProxies() {
  std::vector<RegisteredProxy> proxies;
  for (const std::string& address : absl::GetFlag(FLAGS_proxy)) {
    ClientOptions options;
    options.address = address;
    options.address_flag = "proxy";
    options.tls.ca = absl::GetFlag(FLAGS_proxy_tls_ca);
    options.tls.cert = absl::GetFlag(FLAGS_proxy_tls_cert);
    options.tls.key = absl::GetFlag(FLAGS_proxy_tls_key);
    options.tls.flag_prefix = "proxy_";
    options.token_file = absl::GetFlag(FLAGS_proxy_token_file);
    ASSIGN_OR_RETURN(const ClientChannel channel, ClientChannel::Create(options));
    proxies.push_back({address, channel.channel()});
  }
  return proxies;
}

absl::Status RunTrainer() {
  RETURN_IF_ERROR(CheckFlags());
  if (absl::GetFlag(FLAGS_threads) > 0) at::set_num_threads(absl::GetFlag(FLAGS_threads));
  ServerOptions server_options = ServerOptionsFromFlags();
  ASSIGN_OR_RETURN(const auto authenticator, Authenticator::Load(server_options.token_file));
  ASSIGN_OR_RETURN(std::vector<RegisteredProxy> proxies, RegisteredProxies());
  if (proxies.empty()) {
    LogWarning("--proxy names no proxy: published requests stay PUBLISHED, and their text is kept");
  }

  ASSIGN_OR_RETURN(SealingKey key, SealingKey::Load(absl::GetFlag(FLAGS_store_key_file)));
  ASSIGN_OR_RETURN(const auto store,
                   VersionStore::Open(absl::GetFlag(FLAGS_store), std::move(key)));
  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(absl::GetFlag(FLAGS_pair)));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(checkpoint->tokenizer_path()));
  ASSIGN_OR_RETURN(
      std::shared_ptr<const Decoder> base,
      Decoder::Load(*checkpoint,
                    absl::GetFlag(FLAGS_pair_dtype) == "fp32" ? at::kFloat : at::kBFloat16));
  // Which model M is, ModelCheckedTrainer asks before each request.
  ASSIGN_OR_RETURN(
      const std::unique_ptr<GuardedUpstream> upstream,
      OpenUpstreamFromFlags(absl::InfiniteDuration(), std::make_shared<prometheus::Registry>()));
  if (upstream->info().top > 0) {
    LogInfo("M tells its ", upstream->info().top,
            " most likely tokens only (--upstream_top): training spreads the rest of its law "
            "evenly, and the scores of a version say how much that was");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<OffsetTrainer> lora_trainer,
                   NewLoraTrainer(upstream.get(), base, tokenizer, TrainingOptions()));
  ModelCheckedTrainer trainer(lora_trainer.get(), upstream.get(), store.get(),
                              {checkpoint->Fingerprint(), tokenizer->fingerprint()});
  RETURN_IF_ERROR(trainer.Check());
  if (absl::GetFlag(FLAGS_validate_only)) {
    std::printf("the configuration is valid\n");
    return absl::OkStatus();
  }

  ASSIGN_OR_RETURN(const std::unique_ptr<RequestQueue> queue,
                   RequestQueue::Open(absl::GetFlag(FLAGS_state)));
  ProxyEnforcement enforcement(store.get(), std::move(proxies), absl::Seconds(5));
  Eraser eraser(queue.get());
  RunnerOptions runner_options;
  runner_options.failed_retention = absl::GetFlag(FLAGS_failed_retention);
  RequestRunner runner(queue.get(), store.get(), &trainer, &enforcement, &eraser, runner_options);
  DeletionServiceImpl service(queue.get(), &runner, authenticator.get());

  std::unique_ptr<MetricsEndpoint> endpoint;
  if (!server_options.metrics_listen.empty()) {
    ASSIGN_OR_RETURN(endpoint,
                     MetricsEndpoint::Start(server_options.metrics_listen, server_options.port_file,
                                            std::make_shared<RequestMetrics>(queue.get())));
  }
  server_options.on_drain = [&] {
    service.EndWatches();
    runner.Stop();
  };
  runner.Start();
  ASSIGN_OR_RETURN(
      const auto server,
      ServerRunner::Start(server_options,
                          {{&service, v1::DeletionService::service_full_name(), true}}));
  LogInfo("unlearn_trainer answers on ", server->addresses()[0], " for ",
          upstream->info().model_id);
  const absl::Status result = server->Wait();
  if (absl::IsDeadlineExceeded(result)) LogWarning(result.message());
  return absl::IsDeadlineExceeded(result) ? absl::OkStatus() : result;
}

}  // namespace
}  // namespace unlearn

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Takes deletion requests (gRPC) and turns each into a version of the offset.\n"
      "  unlearn_trainer --upstream native:HOST:PORT --pair DIR --store DIR --store_key_file F "
      "--state DIR --proxy HOST:PORT,HOST:PORT");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    std::fprintf(stderr, "unlearn_trainer: unexpected argument %s; see --help\n", rest[1]);
    return 2;
  }
  absl::Status status =
      unlearn::LoadSettings(unlearn::v1::TrainerConfig(), absl::GetFlag(FLAGS_config));
  if (status.ok()) status = unlearn::RunTrainer();
  if (status.ok()) return 0;
  std::fprintf(stderr, "unlearn_trainer: %s\n", std::string(status.message()).c_str());
  return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
}
