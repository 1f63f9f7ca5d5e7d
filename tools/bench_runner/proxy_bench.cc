#include "tools/bench_runner/proxy_bench.h"

#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/grpcpp.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/torch_boundary.h"
#include "offset/store/version_store.h"
#include "proto/unlearn/v1/generation.grpc.pb.h"
#include "proxy/transport/grpc_status.h"
#include "proxy/upstream/native_upstream.h"
#include "proxy/upstream/testing/tiny_model.h"
#include "tools/bench_runner/bare_streams.h"
#include "tools/bench_runner/bench_models.h"
#include "tools/harness/asker.h"

namespace unlearn {
namespace {

constexpr int64_t kRank = 16;
constexpr int kPromptTokens = 16;
constexpr int kVocabulary = 1536;
constexpr int kStreams[] = {1, 8, 32};

absl::Status WriteModels(const std::string& model, const std::string& pair) {
  TinyModelOptions options;
  options.vocab_size = kVocabulary;
  options.hidden = 192;
  options.layers = 6;
  options.heads = 6;
  options.kv_heads = 3;
  RETURN_IF_ERROR(WriteTinyModel(model, options));
  options.hidden = 96;
  options.layers = 4;
  options.heads = 4;
  options.kv_heads = 4;
  options.seed = 2;
  return WriteTinyModel(pair, options);
}

// Publishes a version whose offset does something, as the trainer would.
absl::StatusOr<uint64_t> PublishRandomVersion(const ServerTrio& trio, const ModelConfig& base) {
  ASSIGN_OR_RETURN(SealingKey key, SealingKey::Load(trio.store_key_file()));
  ASSIGN_OR_RETURN(const auto store, VersionStore::Open(trio.store(), std::move(key)));
  ASSIGN_OR_RETURN(v1::Manifest draft, store->ReadManifest(0));
  draft.clear_created_unix_seconds();
  draft.add_request_ids("bench");
  draft.set_objective("random");
  ASSIGN_OR_RETURN(const uint64_t version,
                   store->Publish(std::move(draft),
                                  {{"bench", kRank, RandomAdapter(base, kRank, 3).Serialize()}}));
  RETURN_IF_ERROR(store->Activate(version, {}, "tools/bench"));
  return version;
}

absl::Status WaitForVersion(const std::string& address, uint64_t version) {
  const auto stub = v1::GenerationService::NewStub(
      grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(deadline));
    v1::GetInfoResponse info;
    RETURN_IF_ERROR(FromGrpcStatus(stub->GetInfo(&context, {}, &info)));
    if (info.offset_version() == version) return absl::OkStatus();
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(absl::StrCat("the proxy still serves version ",
                                                      info.offset_version(), ", not ", version));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
}

// All prompts at once through the proxy, `tokens` greedy tokens each.
absl::Status DecodeProxied(const Asker& asker, const std::vector<std::vector<int32_t>>& prompts,
                           int tokens, uint64_t version) {
  std::vector<absl::Status> statuses(prompts.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < prompts.size(); ++i) {
    clients.emplace_back([&, i] {
      v1::GenerateRequest request;
      request.mutable_token_ids()->mutable_ids()->Add(prompts[i].begin(), prompts[i].end());
      request.mutable_sampling()->set_max_tokens(tokens);
      request.mutable_sampling()->set_ignore_eos(true);
      const absl::StatusOr<Answer> answer = asker.Generate(request);
      statuses[i] = answer.status();
      if (!answer.ok()) return;
      if (static_cast<int>(answer->tokens.size()) != tokens) {
        statuses[i] = absl::InternalError(
            absl::StrCat("a stream had ", answer->tokens.size(), " tokens instead of ", tokens));
      } else if (answer->tokens.back().offset_version() != version) {
        statuses[i] = absl::InternalError("a stream came from another version");
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

std::vector<std::vector<int32_t>> Prompts(int count) {
  std::vector<std::vector<int32_t>> prompts(count);
  for (int i = 0; i < count; ++i) {
    for (int at = 0; at < kPromptTokens; ++at) {
      prompts[i].push_back((i * 7919 + at * 104729 + 300) % kVocabulary);
    }
  }
  return prompts;
}

absl::Status CompareStreams(const ProxyBenchOptions& options, nlohmann::ordered_json sizes,
                            Upstream& upstream, const Asker& asker, uint64_t version, int streams,
                            const ReportResult& report) {
  const std::vector<std::vector<int32_t>> prompts = Prompts(streams);
  ASSIGN_OR_RETURN(
      const RoundSeconds seconds,
      Compare({{"bare", [&] { return DecodeBare(upstream, prompts, options.tokens); }},
               {"proxied", [&] { return DecodeProxied(asker, prompts, options.tokens, version); }}},
              options.compare));
  RoundSeconds rates = seconds;
  for (auto& rounds : rates) {
    for (double& value : rounds) value = streams * options.tokens / value;
  }
  BenchResult result;
  result.bench = "proxy";
  result.sizes = std::move(sizes);
  result.sizes["streams"] = streams;
  result.unit = "tokens/s";
  result.figures = {{"bare", SpreadOf(rates[0])}, {"proxied", SpreadOf(rates[1])}};
  result.ratios = {{"proxied / bare", RatioOf(rates[1], rates[0])}};
  report(result);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Decoder>> LoadFp32(const std::string& folder) {
  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(folder));
  return Decoder::Load(*checkpoint, at::kFloat);
}

}  // namespace

absl::Status RunProxyBench(const ProxyBenchOptions& options, const ReportResult& report) {
  TrioOptions trio_options;
  trio_options.work = JoinPath(options.work, "servers");
  trio_options.model = JoinPath(options.work, "m");
  trio_options.pair = JoinPath(options.work, "base");
  trio_options.model_server_flags = {absl::StrCat("--delay_ms=", options.delay_ms)};
  RETURN_IF_ERROR(WriteModels(trio_options.model, trio_options.pair));
  ASSIGN_OR_RETURN(const auto model, LoadFp32(trio_options.model));
  ASSIGN_OR_RETURN(const auto base, LoadFp32(trio_options.pair));
  nlohmann::ordered_json sizes;
  AddSizes("M_", {"random", model->config()}, *model, sizes);
  AddSizes("base_", {"random", base->config()}, *base, sizes);
  sizes["lora_rank"] = kRank;
  sizes["upstream_delay_ms"] = options.delay_ms;
  sizes["prompt_tokens"] = kPromptTokens;
  sizes["tokens"] = options.tokens;

  ASSIGN_OR_RETURN(const auto trio, ServerTrio::Start(options.programs, trio_options));
  uint64_t version = 0;
  RETURN_IF_ERROR(CatchTorch("publishing a random version", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(version, PublishRandomVersion(*trio, base->config()));
    return absl::OkStatus();
  }));
  RETURN_IF_ERROR(WaitForVersion(trio->proxy_address(), version));
  ASSIGN_OR_RETURN(const auto upstream, NativeUpstream::Open(trio->model_address(), {}));
  const Asker asker(trio->proxy_address(), 1);
  for (const int streams : kStreams) {
    RETURN_IF_ERROR(CompareStreams(options, sizes, *upstream, asker, version, streams, report));
  }
  return absl::OkStatus();
}

}  // namespace unlearn
