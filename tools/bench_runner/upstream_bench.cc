#include "tools/bench_runner/upstream_bench.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/torch_boundary.h"
#include "proxy/upstream/local_upstream.h"
#include "proxy/upstream/native_upstream.h"
#include "proxy/upstream/testing/tiny_model.h"
#include "tools/bench_runner/bare_streams.h"
#include "tools/bench_runner/bench_models.h"
#include "tools/bench_runner/draft_agreement.h"
#include "tools/bench_runner/proxied_streams.h"
#include "tools/bench_runner/simulated_server.h"
#include "tools/harness/asker.h"
#include "tools/harness/child_process.h"

namespace unlearn {
namespace {

constexpr int64_t kRank = 16;
constexpr int kPromptTokens = 16;
constexpr int kTuningPrompts = 4;  // of NoiseFor

// What all comparisons share. Members are in order of dependence.
struct Bench {
  std::unique_ptr<LocalUpstream> small;  // gives M's rows before noise: the reference
  std::unique_ptr<SimulatedModel> model;
  std::unique_ptr<SimulatedServer> server;
  std::unique_ptr<NativeUpstream> upstream;  // of the bare client
  std::unique_ptr<ChildProcess> proxy;
  std::string proxy_address;
  std::unique_ptr<Decoder> base;
  LoraStack stack;
  uint64_t version = 0;
  nlohmann::ordered_json sizes;
};

absl::Status StartModel(const UpstreamBenchOptions& options, const std::string& folder,
                        Bench& bench) {
  SimulatedModelOptions model = options.model;
  const int vocabulary = static_cast<int>(options.base.vocab_size);
  RETURN_IF_ERROR(WriteRandomModel(folder, options.base, /*seed=*/2));
  RETURN_IF_ERROR(
      WriteFileAtomically(JoinPath(folder, "tokenizer.json"), TinyTokenizerJson(vocabulary)));
  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(folder));
  ASSIGN_OR_RETURN(bench.base, Decoder::Load(*checkpoint, at::kBFloat16));
  RETURN_IF_ERROR(CatchTorch("a random adapter", [&]() -> absl::Status {
    const LoraAdapter adapter = RandomAdapter(bench.base->config(), kRank, 3);
    bench.stack = FuseAdapters(bench.base->config(), {&adapter});
    return absl::OkStatus();
  }));
  ASSIGN_OR_RETURN(
      model.noise,
      Draft(bench.base.get(), &bench.stack)
          .NoiseFor(options.agreement, SimulatedModel::Noise(vocabulary),
                    BenchPrompts(kTuningPrompts, kPromptTokens, vocabulary), options.tokens));
  ASSIGN_OR_RETURN(bench.small, LocalUpstream::Open(folder, {}));
  UpstreamInfo info = bench.small->info();
  info.model_id = "simulated";
  absl::StrAppend(&info.weights_fingerprint, "-noise-", model.noise);
  bench.model = std::make_unique<SimulatedModel>(std::move(info), bench.small.get(), model);
  ASSIGN_OR_RETURN(bench.server, SimulatedServer::Start(bench.model.get(), "127.0.0.1:0"));
  ASSIGN_OR_RETURN(bench.upstream, NativeUpstream::Open(bench.server->address(), {}));
  bench.sizes["M"] = "simulated";
  bench.sizes["M_call_ms"] = absl::ToDoubleMilliseconds(model.call);
  bench.sizes["M_position_ms"] = absl::ToDoubleMilliseconds(model.position);
  bench.sizes["M_noise"] = model.noise;
  AddSizes("base_", {"random bf16", options.base}, *bench.base, bench.sizes);
  bench.sizes["lora_rank"] = kRank;
  bench.sizes["prompt_tokens"] = kPromptTokens;
  bench.sizes["tokens"] = options.tokens;
  return absl::OkStatus();
}

absl::Status StartProxy(const UpstreamBenchOptions& options, const std::string& pair,
                        Bench& bench) {
  const std::string store = JoinPath(options.work, "store");
  const std::string key = JoinPath(options.work, "store.key");
  const std::string port_file = JoinPath(options.work, "proxy.port");
  const std::string log = JoinPath(options.work, "proxy.log");
  const std::string upstream = absl::StrCat("native:", bench.server->address());
  RETURN_IF_ERROR(
      RunAndRead({options.unlearn, "offset", "init", "--store", store, "--store_key_file", key,
                  "--upstream", upstream, "--pair", pair, "--alpha", "1", "--json"})
          .status());
  RETURN_IF_ERROR(CatchTorch("publishing a random version", [&]() -> absl::Status {
    ASSIGN_OR_RETURN(bench.version,
                     PublishAdapter(store, key, RandomAdapter(bench.base->config(), kRank, 3)));
    return absl::OkStatus();
  }));
  ASSIGN_OR_RETURN(bench.proxy,
                   ChildProcess::Start({options.proxy, "--upstream=" + upstream, "--pair=" + pair,
                                        "--store=" + store, "--store_key_file=" + key,
                                        "--listen=127.0.0.1:0", "--port_file=" + port_file},
                                       log));
  ASSIGN_OR_RETURN(bench.proxy_address,
                   WaitForPort(*bench.proxy, port_file, log, absl::Minutes(1)));
  return WaitForVersion(bench.proxy_address, bench.version);
}

// Two ways of `streams` streams: tokens per second of each, and the second against the first.
absl::Status CompareRates(const UpstreamBenchOptions& options, int streams, const Contender& first,
                          const Contender& second, BenchResult result, const ReportResult& report) {
  ASSIGN_OR_RETURN(RoundSeconds rates, Compare({first, second}, options.compare));
  for (auto& rounds : rates) {
    for (double& value : rounds) value = streams * options.tokens / value;
  }
  result.bench = "upstream";
  result.sizes["streams"] = streams;
  result.unit = "tokens/s";
  result.figures = {{first.name, SpreadOf(rates[0])}, {second.name, SpreadOf(rates[1])}};
  result.ratios = {{absl::StrCat(second.name, " / ", first.name), RatioOf(rates[1], rates[0])}};
  report(result);
  return absl::OkStatus();
}

absl::Status CompareLockstep(const UpstreamBenchOptions& options, const Bench& bench, int streams,
                             const ReportResult& report) {
  const auto prompts =
      BenchPrompts(streams, kPromptTokens, static_cast<int>(options.base.vocab_size));
  const Asker asker(bench.proxy_address, 1);
  const ProxiedOptions lockstep = {options.tokens, bench.version, v1::DECODING_LOCKSTEP};
  BenchResult result;
  result.sizes = bench.sizes;
  return CompareRates(
      options, streams,
      {"bare", [&] { return DecodeBare(*bench.upstream, prompts, options.tokens); }},
      {"lockstep", [&] { return DecodeProxied(asker, prompts, lockstep).status(); }},
      std::move(result), report);
}

absl::Status CompareDrafts(const UpstreamBenchOptions& options, const Bench& bench, int streams,
                           const ReportResult& report) {
  const auto prompts =
      BenchPrompts(streams, kPromptTokens, static_cast<int>(options.base.vocab_size));
  const Asker asker(bench.proxy_address, 1);
  const ProxiedOptions lockstep = {options.tokens, bench.version, v1::DECODING_LOCKSTEP};
  const ProxiedOptions drafts = {options.tokens, bench.version, v1::DECODING_DRAFT_AND_VERIFY};
  ASSIGN_OR_RETURN(const auto tokens, DecodeProxied(asker, prompts, lockstep));
  BenchResult result;
  result.sizes = bench.sizes;
  ASSIGN_OR_RETURN(result.sizes["draft_agreement"],
                   Draft(bench.base.get(), &bench.stack).Agreement(prompts, tokens));
  const auto drafted = DecodeProxied(asker, prompts, drafts);
  if (absl::IsUnimplemented(drafted.status())) {
    result.bench = "upstream";
    result.sizes["streams"] = streams;
    result.sizes["draft and verify"] = "not available";
    report(result);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(drafted.status());
  if (*drafted != tokens) {
    return absl::InternalError("draft and verify gave other tokens than lockstep");
  }
  return CompareRates(
      options, streams,
      {"lockstep", [&] { return DecodeProxied(asker, prompts, lockstep).status(); }},
      {"draft and verify", [&] { return DecodeProxied(asker, prompts, drafts).status(); }},
      std::move(result), report);
}

}  // namespace

absl::Status RunUpstreamBench(const UpstreamBenchOptions& options, const ReportResult& report) {
  Bench bench;
  const std::string folder = JoinPath(options.work, "base");
  RETURN_IF_ERROR(StartModel(options, folder, bench));
  RETURN_IF_ERROR(StartProxy(options, folder, bench));
  const KeptAwake awake(bench.proxy_address);
  for (const int streams : options.lockstep_streams) {
    RETURN_IF_ERROR(CompareLockstep(options, bench, streams, report));
  }
  for (const int streams : options.draft_streams) {
    RETURN_IF_ERROR(CompareDrafts(options, bench, streams, report));
  }
  return absl::OkStatus();
}

}  // namespace unlearn
