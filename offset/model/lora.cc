#include "offset/model/lora.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/tensor_io.h"

namespace unlearn {
namespace {

// A linear layer under HF's name and where its output stands in the decoder's fused product.
struct Target {
  const char* name;
  int64_t in;
  int64_t out;
  int64_t fused_begin;  // first row in the fused output
  int64_t fused_out;    // rows of the fused output
  LoraLinear LoraLayer::*slot;
};

std::vector<Target> Targets(const ModelConfig& m) {
  const int64_t q = m.num_heads * m.head_dim;
  const int64_t kv = m.num_kv_heads * m.head_dim;
  const int64_t h = m.hidden_size;
  const int64_t i = m.intermediate_size;
  if (m.fused_projections) {
    return {
        {"self_attn.qkv_proj", h, q + 2 * kv, 0, q + 2 * kv, &LoraLayer::qkv},
        {"self_attn.o_proj", q, h, 0, h, &LoraLayer::attention_output},
        {"mlp.gate_up_proj", h, 2 * i, 0, 2 * i, &LoraLayer::gate_up},
        {"mlp.down_proj", i, h, 0, h, &LoraLayer::down},
    };
  }
  return {
      {"self_attn.q_proj", h, q, 0, q + 2 * kv, &LoraLayer::qkv},
      {"self_attn.k_proj", h, kv, q, q + 2 * kv, &LoraLayer::qkv},
      {"self_attn.v_proj", h, kv, q + kv, q + 2 * kv, &LoraLayer::qkv},
      {"self_attn.o_proj", q, h, 0, h, &LoraLayer::attention_output},
      {"mlp.gate_proj", h, i, 0, 2 * i, &LoraLayer::gate_up},
      {"mlp.up_proj", h, i, i, 2 * i, &LoraLayer::gate_up},
      {"mlp.down_proj", i, h, 0, h, &LoraLayer::down},
  };
}

std::string TensorName(int64_t layer, absl::string_view target, absl::string_view part) {
  return absl::StrCat("base_model.model.model.layers.", layer, ".", target, ".lora_", part,
                      ".weight");
}

}  // namespace

LoraAdapter LoraAdapter::Init(const ModelConfig& model, const LoraConfig& config, uint64_t seed) {
  LoraAdapter adapter;
  adapter.config_ = config;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  for (int64_t layer = 0; layer < model.num_layers; ++layer) {
    for (const Target& target : Targets(model)) {
      adapter.tensors_[TensorName(layer, target.name, "A")] =
          at::randn({config.rank, target.in}, generator, at::TensorOptions(at::kFloat)) /
          std::sqrt(static_cast<double>(target.in));
      adapter.tensors_[TensorName(layer, target.name, "B")] =
          at::zeros({target.out, config.rank}, at::TensorOptions(at::kFloat));
    }
  }
  return adapter;
}

absl::StatusOr<LoraAdapter> LoraAdapter::Load(const SafetensorsFile& file,
                                              const ModelConfig& model) {
  LoraAdapter adapter;
  const auto metadata = [&](const char* key) -> std::string {
    const auto it = file.metadata().find(key);
    return it == file.metadata().end() ? "" : it->second;
  };
  if (!absl::SimpleAtoi(metadata("rank"), &adapter.config_.rank) || adapter.config_.rank < 1 ||
      adapter.config_.rank > 4096 || !absl::SimpleAtod(metadata("alpha"), &adapter.config_.alpha) ||
      !std::isfinite(adapter.config_.alpha)) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path(),
        ": $.__metadata__ lacks a valid rank or alpha; not an adapter of this project"));
  }
  for (int64_t layer = 0; layer < model.num_layers; ++layer) {
    for (const Target& target : Targets(model)) {
      for (const bool is_a : {true, false}) {
        const std::string name = TensorName(layer, target.name, is_a ? "A" : "B");
        const auto it = file.tensors().find(name);
        const std::vector<int64_t> shape =
            is_a ? std::vector<int64_t>{adapter.config_.rank, target.in}
                 : std::vector<int64_t>{target.out, adapter.config_.rank};
        if (it == file.tensors().end() || it->second.shape != shape) {
          return absl::InvalidArgumentError(absl::StrCat(
              file.path(), ": ", name,
              " is missing or has another shape than the pair's base; the adapter was trained for "
              "another pair"));
        }
        ASSIGN_OR_RETURN(adapter.tensors_[name], TensorFromView(name, it->second, at::kFloat));
      }
    }
  }
  if (file.tensors().size() != adapter.tensors_.size()) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": holds ", file.tensors().size(),
                                                   " tensors where ", adapter.tensors_.size(),
                                                   " were expected"));
  }
  return adapter;
}

std::string LoraAdapter::Serialize() const {
  return SerializeTensors(
      tensors_, at::kFloat,
      {{"rank", absl::StrCat(config_.rank)}, {"alpha", absl::StrCat(config_.alpha)}});
}

LoraStack FuseAdapters(const ModelConfig& model, absl::Span<const LoraAdapter* const> adapters) {
  LoraStack stack;
  if (adapters.empty()) return stack;
  stack.layers.resize(model.num_layers);
  for (int64_t layer = 0; layer < model.num_layers; ++layer) {
    // Parts of each fused projection: A rows stack; B columns stand at their output rows.
    std::map<LoraLinear LoraLayer::*, std::pair<std::vector<at::Tensor>, std::vector<at::Tensor>>,
             bool (*)(LoraLinear LoraLayer::*, LoraLinear LoraLayer::*)>
        parts([](LoraLinear LoraLayer::*x, LoraLinear LoraLayer::*y) {
          static const LoraLayer probe;
          return &(probe.*x) < &(probe.*y);
        });
    for (const LoraAdapter* adapter : adapters) {
      const int64_t rank = adapter->config().rank;
      const double scale = adapter->config().alpha / rank;
      for (const Target& target : Targets(model)) {
        const at::Tensor& a = adapter->tensors().at(TensorName(layer, target.name, "A"));
        const at::Tensor& b = adapter->tensors().at(TensorName(layer, target.name, "B"));
        auto& [a_parts, b_parts] = parts[target.slot];
        std::vector<LoraLinear::Block>& blocks = (stack.layers[layer].*target.slot).blocks;
        const int64_t rank_begin = blocks.empty() ? 0 : blocks.back().rank_end;
        a_parts.push_back(a);
        b_parts.push_back(at::constant_pad_nd(
            b.t() * scale,
            {target.fused_begin, target.fused_out - target.fused_begin - target.out}));
        blocks.push_back(
            {rank_begin, rank_begin + rank, target.fused_begin, target.fused_begin + target.out});
      }
    }
    for (const auto& [slot, part] : parts) {
      LoraLinear& linear = stack.layers[layer].*slot;
      linear.a = at::cat(part.first, 0);
      linear.b = at::cat(part.second, 0).t();
    }
  }
  return stack;
}

}  // namespace unlearn
