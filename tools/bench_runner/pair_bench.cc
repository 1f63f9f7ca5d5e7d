#include "tools/bench_runner/pair_bench.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "offset/model/cached_forward.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/kv_cache.h"
#include "offset/model/lora.h"
#include "offset/model/matrix_product.h"
#include "offset/model/torch_boundary.h"
#include "offset/pair/pair_engine.h"
#include "tools/bench_runner/bench_models.h"

namespace unlearn {
namespace {

constexpr int64_t kRank = 16;
constexpr int32_t kContext = 64;  // tokens of each stream before the step that is measured
constexpr int kStreams[] = {1, 4, 16};

int32_t TokenAt(const ModelConfig& config, int stream, int position) {
  return static_cast<int32_t>((stream * 7919 + position * 104729 + 17) % config.vocab_size);
}

// One model with the same contexts as the pair's streams: the base, under a LoRA or none.
class SingleModel {
 public:
  SingleModel(const Decoder& decoder, int streams, const LoraStack* lora)
      : decoder_(decoder),
        lora_(lora),
        cache_(decoder.config(), streams * (kContext + 2 * KvCache::kPageTokens)) {
    for (int i = 0; i < streams; ++i) sequences_.push_back(cache_.AddSequence());
  }

  absl::Status Prefill() {
    for (size_t i = 0; i < sequences_.size(); ++i) {
      TokenBatch batch;
      for (int32_t at = 0; at < kContext; ++at) {
        batch.Add(TokenAt(decoder_.config(), i, at), sequences_[i], at);
      }
      RETURN_IF_ERROR(Forward(batch).status());
    }
    return absl::OkStatus();
  }

  // Always the same position, so that every repetition does the same work.
  absl::Status Step() {
    TokenBatch batch;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      batch.Add(TokenAt(decoder_.config(), i, kContext), sequences_[i], kContext);
    }
    ASSIGN_OR_RETURN(const at::Tensor hidden, Forward(batch));
    return CatchTorch("logits", [&]() -> absl::Status {
      c10::InferenceMode inference;
      logits_ = decoder_.Logits(hidden);
      return absl::OkStatus();
    });
  }

  const at::Tensor& logits() const { return logits_; }

 private:
  absl::StatusOr<at::Tensor> Forward(TokenBatch& batch) {
    if (lora_ != nullptr) batch.loras.push_back({0, batch.size(), lora_});
    return ForwardTokens(decoder_, batch, cache_);
  }

  const Decoder& decoder_;
  const LoraStack* const lora_;
  KvCache cache_;
  std::vector<int> sequences_;
  at::Tensor logits_;
};

// The streams of a PairEngine.
class Pair {
 public:
  Pair(std::shared_ptr<const Decoder> base, int streams, std::shared_ptr<const LoraStack> stack)
      : engine_(base, 2 * streams * (kContext + 2 * KvCache::kPageTokens)) {
    for (int i = 0; i < streams; ++i) {
      streams_.push_back(engine_.AddStream(stack));
      next_.push_back(TokenAt(base->config(), i, kContext));
    }
  }

  absl::Status Prefill() {
    for (size_t i = 0; i < streams_.size(); ++i) {
      std::vector<int32_t> tokens;
      for (int32_t at = 0; at < kContext; ++at) {
        tokens.push_back(TokenAt(engine_.config(), i, at));
      }
      PairStep step;
      step.stream = streams_[i];
      step.tokens = tokens;
      step.wanted = 0;
      RETURN_IF_ERROR(engine_.Step({step}).status());
    }
    return absl::OkStatus();
  }

  absl::Status Step() {
    std::vector<PairStep> steps(streams_.size());
    for (size_t i = 0; i < streams_.size(); ++i) {
      steps[i].stream = streams_[i];
      steps[i].base_position = kContext;
      steps[i].tokens = absl::MakeConstSpan(&next_[i], 1);
    }
    ASSIGN_OR_RETURN(delta_, engine_.Step(steps));
    return absl::OkStatus();
  }

  const at::Tensor& delta() const { return delta_; }

 private:
  PairEngine engine_;
  std::vector<int> streams_;
  std::vector<int32_t> next_;
  at::Tensor delta_;
};

// The matrix products of a pair's step and nothing else, on rows of the same number: what is left
// of a step when they are taken away is the engine's own.
class ProductsOnly {
 public:
  ProductsOnly(const Decoder& base, int streams, const LoraStack& stack)
      : base_(base), streams_(streams), stack_(stack) {
    const ModelConfig& config = base.config();
    const auto rows = [&](int64_t size) { return at::randn({2 * streams, size}); };
    hidden_ = rows(config.hidden_size);
    attended_ = rows(config.num_heads * config.head_dim);
    gated_ = rows(config.intermediate_size);
  }

  absl::Status Step() {
    return CatchTorch("products", [&]() -> absl::Status {
      c10::InferenceMode inference;
      for (size_t i = 0; i < base_.layers().size(); ++i) {
        const DecoderLayerWeights& layer = base_.layers()[i];
        const LoraLayer& lora = stack_.layers[i];
        Multiply(hidden_, layer.qkv, lora.qkv);
        Multiply(attended_, layer.attention_output, lora.attention_output);
        Multiply(hidden_, layer.gate_up, lora.gate_up);
        Multiply(gated_, layer.down, lora.down);
      }
      base_.Logits(hidden_.narrow(0, 0, streams_));
      return absl::OkStatus();
    });
  }

 private:
  void Multiply(const at::Tensor& x, const at::Tensor& weight, const LoraLinear& lora) {
    const int64_t out = weight.size(0);
    y_.resize(2 * streams_ * out);
    MultiplyByWeight(x.const_data_ptr<float>(), 2 * streams_, weight, at::Tensor(), y_.data());
    AddLora(x.const_data_ptr<float>() + streams_ * x.size(1), streams_, lora,
            y_.data() + streams_ * out);
  }

  const Decoder& base_;
  const int64_t streams_;
  const LoraStack& stack_;
  at::Tensor hidden_;
  at::Tensor attended_;
  at::Tensor gated_;
  std::vector<float> y_;
};

absl::Status CompareStreams(const PairBenchOptions& options, const BenchModel& model,
                            const std::string& dtype, std::shared_ptr<const Decoder> base,
                            std::shared_ptr<const LoraStack> stack, int streams,
                            const ReportResult& report) {
  SingleModel single(*base, streams, nullptr);
  SingleModel offset(*base, streams, stack.get());
  Pair pair(base, streams, stack);
  RETURN_IF_ERROR(single.Prefill());
  RETURN_IF_ERROR(offset.Prefill());
  RETURN_IF_ERROR(pair.Prefill());
  // Both ways of getting delta must agree, or their times mean nothing.
  RETURN_IF_ERROR(single.Step());
  RETURN_IF_ERROR(offset.Step());
  RETURN_IF_ERROR(pair.Step());
  const at::Tensor apart = offset.logits() - single.logits();
  const double size = apart.abs().max().item<double>();
  const double error = (apart - pair.delta()).abs().max().item<double>();
  const double bound = dtype == "fp32" ? 1e-4 : 0.05 * size;
  if (!(size > 0) || !(error <= bound)) {
    return absl::InternalError(absl::StrCat("the pair's delta of ", model.name, " in ", dtype,
                                            " is off by ", error, " of ", size));
  }

  Pair one(base, 1, stack);
  RETURN_IF_ERROR(one.Prefill());
  ProductsOnly products(*base, streams, *stack);
  ASSIGN_OR_RETURN(const RoundSeconds seconds,
                   Compare({{"single", [&] { return single.Step(); }},
                            {"pair", [&] { return pair.Step(); }},
                            {"apart",
                             [&]() -> absl::Status {
                               RETURN_IF_ERROR(single.Step());
                               return offset.Step();
                             }},
                            {"products", [&] { return products.Step(); }},
                            {"one", [&] { return one.Step(); }}},
                           options.compare));
  RoundSeconds ms = seconds;
  for (auto& rounds : ms) {
    for (double& value : rounds) value *= 1e3;
  }
  BenchResult result;
  result.bench = "pair";
  AddSizes("", model, *base, result.sizes);
  result.sizes["dtype"] = dtype;
  result.sizes["lora_rank"] = kRank;
  result.sizes["streams"] = streams;
  result.sizes["context"] = kContext;
  result.sizes["threads"] = at::get_num_threads();
  result.unit = "ms/step";
  result.figures = {{"base alone", SpreadOf(ms[0])},
                    {"pair", SpreadOf(ms[1])},
                    {"reference, then offset", SpreadOf(ms[2])},
                    {"the pair's matrix products", SpreadOf(ms[3])},
                    {"pair of one stream", SpreadOf(ms[4])}};
  std::vector<double> beside(ms[1].size()), gain(ms[1].size());
  for (size_t i = 0; i < beside.size(); ++i) {
    beside[i] = 1 - ms[3][i] / ms[1][i];
    gain[i] = streams * ms[4][i] / ms[1][i];
  }
  result.ratios = {{"pair / base alone", RatioOf(ms[1], ms[0])},
                   {"reference, then offset / base alone", RatioOf(ms[2], ms[0])},
                   {"share of the pair's step beside its matrix products", SpreadOf(beside)},
                   {"tokens/s of all streams / of one", SpreadOf(gain)}};
  report(result);
  return absl::OkStatus();
}

absl::Status RunModel(const PairBenchOptions& options, const BenchModel& model,
                      const std::string& dtype, std::shared_ptr<const Decoder> base,
                      const ReportResult& report) {
  const LoraAdapter adapter = RandomAdapter(model.config, kRank, 2);
  const auto stack = std::make_shared<const LoraStack>(FuseAdapters(model.config, {&adapter}));
  for (const int streams : kStreams) {
    RETURN_IF_ERROR(CompareStreams(options, model, dtype, base, stack, streams, report));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunPairBench(const PairBenchOptions& options, const ReportResult& report) {
  return CatchTorch("the pair's benchmark", [&]() -> absl::Status {
    const BenchModel small = DemoBase();
    RETURN_IF_ERROR(RunModel(options, small, "fp32", Decoder::Init(small.config, 1), report));
    if (!options.large) return absl::OkStatus();
    const BenchModel large = LargeModel();
    const std::string folder = JoinPath(options.work, "large");
    RETURN_IF_ERROR(WriteRandomModel(folder, large.config, 1));
    ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(folder));
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      ASSIGN_OR_RETURN(std::shared_ptr<const Decoder> base, Decoder::Load(*checkpoint, type));
      RETURN_IF_ERROR(RunModel(options, large, type == at::kFloat ? "fp32" : "bf16", base, report));
    }
    return absl::OkStatus();
  });
}

}  // namespace unlearn
