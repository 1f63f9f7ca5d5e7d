#include "offset/model/lora.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/tensor_io.h"
#include "offset/model/weight_layout.h"

namespace unlearn {
namespace {

// A linear layer of the files and where its output stands in the decoder's fused product.
struct Target {
  std::string name;
  int64_t in;
  int64_t out;
  int64_t fused_begin;  // first row in the fused output
  FusedLinear fused;
  LoraLinear LoraLayer::*slot;
};

std::vector<Target> Targets(const WeightLayout& layout) {
  std::vector<Target> targets;
  const auto add = [&](const FusedLinear& fused, LoraLinear LoraLayer::*slot) {
    int64_t begin = 0;
    for (const LinearPart& part : fused.parts) {
      targets.push_back({part.name, fused.in, part.out, begin, fused, slot});
      begin += part.out;
    }
  };
  add(layout.qkv, &LoraLayer::qkv);
  add(layout.attention_output, &LoraLayer::attention_output);
  add(layout.gate_up, &LoraLayer::gate_up);
  add(layout.down, &LoraLayer::down);
  return targets;
}

// PEFT's: the module's path in the model that it wraps.
std::string TensorName(const WeightLayout& layout, int64_t layer, const Target& target,
                       absl::string_view part) {
  return absl::StrCat("base_model.model.", layout.LayerName(layer, target.name), ".lora_", part,
                      ".weight");
}

}  // namespace

LoraAdapter LoraAdapter::Init(const ModelConfig& model, const LoraConfig& config, uint64_t seed) {
  LoraAdapter adapter;
  adapter.config_ = config;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const WeightLayout layout = WeightLayoutOf(model);
  const std::vector<Target> targets = Targets(layout);
  for (int64_t layer = 0; layer < model.num_layers; ++layer) {
    for (const Target& target : targets) {
      adapter.tensors_[TensorName(layout, layer, target, "A")] =
          at::randn({config.rank, target.in}, generator, at::TensorOptions(at::kFloat)) /
          std::sqrt(static_cast<double>(target.in));
      adapter.tensors_[TensorName(layout, layer, target, "B")] =
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
  const WeightLayout layout = WeightLayoutOf(model);
  const std::vector<Target> targets = Targets(layout);
  for (int64_t layer = 0; layer < model.num_layers; ++layer) {
    for (const Target& target : targets) {
      for (const bool is_a : {true, false}) {
        const std::string name = TensorName(layout, layer, target, is_a ? "A" : "B");
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
  const WeightLayout layout = WeightLayoutOf(model);
  const std::vector<Target> targets = Targets(layout);
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
      for (const Target& target : targets) {
        const at::Tensor& a = adapter->tensors().at(TensorName(layout, layer, target, "A"));
        const at::Tensor& b = adapter->tensors().at(TensorName(layout, layer, target, "B"));
        auto& [a_parts, b_parts] = parts[target.slot];
        std::vector<LoraLinear::Block>& blocks = (stack.layers[layer].*target.slot).blocks;
        const int64_t rank_begin = blocks.empty() ? 0 : blocks.back().rank_end;
        a_parts.push_back(a);
        b_parts.push_back(at::constant_pad_nd(
            RowsFromFiles(target.fused, b).t() * scale,
            {target.fused_begin, target.fused.out() - target.fused_begin - target.out}));
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
