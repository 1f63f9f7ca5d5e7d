#include "tools/bench_runner/proxy_bench.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/torch_boundary.h"
#include "proxy/upstream/native_upstream.h"
#include "proxy/upstream/testing/tiny_model.h"
#include "tools/bench_runner/bare_streams.h"
#include "tools/bench_runner/bench_models.h"
#include "tools/bench_runner/proxied_streams.h"
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

absl::Status CompareStreams(const ProxyBenchOptions& options, nlohmann::ordered_json sizes,
                            Upstream& upstream, const Asker& asker, uint64_t version, int streams,
                            const ReportResult& report) {
  const std::vector<std::vector<int32_t>> prompts =
      BenchPrompts(streams, kPromptTokens, kVocabulary);
  ProxiedOptions proxied;
  proxied.tokens = options.tokens;
  proxied.version = version;
  ASSIGN_OR_RETURN(
      const RoundSeconds seconds,
      Compare({{"bare", [&] { return DecodeBare(upstream, prompts, options.tokens); }},
               {"proxied", [&] { return DecodeProxied(asker, prompts, proxied).status(); }}},
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
    ASSIGN_OR_RETURN(version, PublishAdapter(trio->store(), trio->store_key_file(),
                                             RandomAdapter(base->config(), kRank, 3)));
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
