#include "tools/bench_runner/transformers_bench.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "offset/model/tensor_io.h"
#include "offset/model/torch_boundary.h"
#include "offset/pair/pair_engine.h"
#include "tools/bench_runner/bench_models.h"
#include "tools/harness/child_process.h"

namespace unlearn {
namespace {

constexpr int64_t kRank = 16;
constexpr int32_t kContext = 64;
constexpr absl::Duration kStartTime = absl::Minutes(3);  // importing torch on a busy machine

int32_t TokenAt(const ModelConfig& config, int position) {
  return static_cast<int32_t>((position * 104729 + 17) % config.vocab_size);
}

// The pair of transformers_pair.py in a process of its own.
class TransformersPair {
 public:
  static absl::StatusOr<std::unique_ptr<TransformersPair>> Start(
      const TransformersBenchOptions& options, const std::string& folder) {
    auto pair = std::make_unique<TransformersPair>();
    const std::string path = JoinPath(folder, "socket");
    const std::string log = JoinPath(folder, "transformers.log");
    ASSIGN_OR_RETURN(
        pair->process_,
        ChildProcess::Start(
            {options.python, options.script, "--reference", JoinPath(folder, "reference"),
             "--offset", JoinPath(folder, "offset"), "--context", absl::StrCat(kContext),
             "--threads", absl::StrCat(at::get_num_threads()), "--socket", path},
            log));
    const absl::Time deadline = absl::Now() + kStartTime;
    while (!FileExists(path)) {
      if (!pair->process_->Running() || absl::Now() > deadline) {
        return absl::UnavailableError(
            absl::StrCat("transformers_pair.py did not start; see ", log));
      }
      absl::SleepFor(absl::Milliseconds(50));
    }
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
      return absl::InvalidArgumentError(absl::StrCat("--work: ", path, " is too long a path"));
    }
    strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    pair->socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(pair->socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      return absl::UnavailableError(absl::StrCat(path, ": ", strerror(errno)));
    }
    return pair;
  }
  ~TransformersPair() {
    if (socket_ >= 0) close(socket_);
  }

  absl::Status Step() {
    char answer;
    return Ask('s', &answer, 1);
  }
  absl::StatusOr<at::Tensor> Delta(int64_t vocab) {
    at::Tensor delta = at::empty({vocab}, at::TensorOptions(at::kFloat));
    RETURN_IF_ERROR(Ask('d', delta.data_ptr<float>(), vocab * sizeof(float)));
    return delta;
  }

 private:
  absl::Status Ask(char command, void* answer, size_t size) {
    char* to = static_cast<char*>(answer);
    if (send(socket_, &command, 1, MSG_NOSIGNAL) != 1) {
      return absl::UnavailableError("transformers_pair.py went away");
    }
    while (size > 0) {
      const ssize_t got = recv(socket_, to, size, 0);
      if (got <= 0) return absl::UnavailableError("transformers_pair.py went away");
      to += got;
      size -= static_cast<size_t>(got);
    }
    return absl::OkStatus();
  }

  std::unique_ptr<ChildProcess> process_;
  int socket_ = -1;
};

// The base with the adapter merged into it, as an HF folder: what plain proxy-tuning runs.
absl::Status WriteModel(const std::string& folder, const Decoder& decoder,
                        const LoraAdapter* adapter) {
  std::map<std::string, at::Tensor> weights = decoder.NamedWeights();
  if (adapter != nullptr) {
    const double scale = adapter->config().alpha / adapter->config().rank;
    for (const auto& [name, a] : adapter->tensors()) {
      absl::string_view stem = name;
      if (!absl::ConsumeSuffix(&stem, ".lora_A.weight")) continue;
      const at::Tensor& b = adapter->tensors().at(absl::StrCat(stem, ".lora_B.weight"));
      at::Tensor& weight =
          weights.at(absl::StrCat(absl::StripPrefix(stem, "base_model.model."), ".weight"));
      weight = weight + scale * at::matmul(b, a);
    }
  }
  RETURN_IF_ERROR(MakeFolders(folder));
  RETURN_IF_ERROR(WriteFileAtomically(JoinPath(folder, "config.json"),
                                      ModelConfigToJson(decoder.config(), "float32")));
  return WriteFileAtomically(JoinPath(folder, "model.safetensors"),
                             SerializeTensors(weights, at::kFloat, {{"format", "pt"}}));
}

absl::Status CompareModel(const TransformersBenchOptions& options, const BenchModel& model,
                          const ReportResult& report) {
  const std::string folder = JoinPath(options.work, model.config.hidden_size > 500 ? "l" : "s");
  const std::shared_ptr<const Decoder> base = Decoder::Init(model.config, 1);
  const LoraAdapter adapter = RandomAdapter(model.config, kRank, 2);
  RETURN_IF_ERROR(WriteModel(JoinPath(folder, "reference"), *base, nullptr));
  RETURN_IF_ERROR(WriteModel(JoinPath(folder, "offset"), *base, &adapter));
  ASSIGN_OR_RETURN(const std::unique_ptr<TransformersPair> plain,
                   TransformersPair::Start(options, folder));

  PairEngine engine(base, 2 * (kContext + 2 * KvCache::kPageTokens));
  const int stream =
      engine.AddStream(std::make_shared<const LoraStack>(FuseAdapters(model.config, {&adapter})));
  std::vector<int32_t> tokens;
  for (int at = 0; at <= kContext; ++at) tokens.push_back(TokenAt(model.config, at));
  const absl::Span<const int32_t> all = tokens;
  RETURN_IF_ERROR(engine.Step({{stream, 0, all.first(kContext), 0}}).status());
  const std::vector<PairStep> step = {{stream, kContext, all.subspan(kContext), 1}};
  ASSIGN_OR_RETURN(const at::Tensor ours, engine.Step(step));
  ASSIGN_OR_RETURN(const at::Tensor theirs, plain->Delta(model.config.vocab_size));
  const double size = theirs.abs().max().item<double>();
  const double error = (ours[0] - theirs).abs().max().item<double>();
  if (!(size > 0) || !(error <= 1e-3 * (1 + size))) {
    return absl::InternalError(absl::StrCat("the two pairs of ", model.name,
                                            " differ: delta is up to ", size, ", off by ", error));
  }
  ASSIGN_OR_RETURN(const RoundSeconds seconds,
                   Compare({{"engine", [&] { return engine.Step(step).status(); }},
                            {"transformers", [&] { return plain->Step(); }}},
                           options.compare));
  RoundSeconds ms = seconds;
  for (auto& rounds : ms) {
    for (double& value : rounds) value *= 1e3;
  }
  BenchResult result;
  result.bench = "transformers";
  AddSizes("", model, *base, result.sizes);
  result.sizes["streams"] = 1;
  result.sizes["context"] = kContext;
  result.sizes["threads"] = at::get_num_threads();
  result.unit = "ms/step";
  result.figures = {{"pair engine", SpreadOf(ms[0])},
                    {"transformers, two models", SpreadOf(ms[1])}};
  result.ratios = {{"transformers / engine", RatioOf(ms[1], ms[0])}};
  report(result);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunTransformersBench(const TransformersBenchOptions& options,
                                  const ReportResult& report) {
  return CatchTorch("the benchmark against transformers", [&]() -> absl::Status {
    if (options.python.empty()) {
      return absl::FailedPreconditionError(
          "--python: needs an environment with torch and transformers; `tools/test --peers gemma` "
          "installs one that tools/bench finds");
    }
    RETURN_IF_ERROR(CompareModel(options, DemoBase(), report));
    return options.large ? CompareModel(options, LargeModel(), report) : absl::OkStatus();
  });
}

}  // namespace unlearn
