#include "offset/model/decoder_weights.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/tensor_io.h"
#include "offset/model/weight_layout.h"

namespace unlearn {
namespace {

// Where each part of the layout lies in a layer. The order is that in which Init draws.
struct LinearSlot {
  FusedLinear WeightLayout::*layout;
  at::Tensor DecoderLayerWeights::*weight;
  at::Tensor DecoderLayerWeights::*bias;
  bool residual;  // its output is added to the residual stream
};

constexpr LinearSlot kLinears[] = {
    {&WeightLayout::qkv, &DecoderLayerWeights::qkv, &DecoderLayerWeights::qkv_bias, false},
    {&WeightLayout::attention_output, &DecoderLayerWeights::attention_output,
     &DecoderLayerWeights::attention_output_bias, true},
    {&WeightLayout::gate_up, &DecoderLayerWeights::gate_up, &DecoderLayerWeights::gate_up_bias,
     false},
    {&WeightLayout::down, &DecoderLayerWeights::down, &DecoderLayerWeights::down_bias, true},
};

struct NormSlot {
  NormLayout WeightLayout::*layout;
  at::Tensor DecoderLayerWeights::*weight;
  at::Tensor DecoderLayerWeights::*bias;  // null: never there
};

constexpr NormSlot kNorms[] = {
    {&WeightLayout::attention_norm, &DecoderLayerWeights::attention_norm,
     &DecoderLayerWeights::attention_norm_bias},
    {&WeightLayout::mlp_norm, &DecoderLayerWeights::mlp_norm, &DecoderLayerWeights::mlp_norm_bias},
    {&WeightLayout::attention_output_norm, &DecoderLayerWeights::attention_output_norm, nullptr},
    {&WeightLayout::mlp_output_norm, &DecoderLayerWeights::mlp_output_norm, nullptr},
    {&WeightLayout::query_norm, &DecoderLayerWeights::query_norm, nullptr},
    {&WeightLayout::key_norm, &DecoderLayerWeights::key_norm, nullptr},
};

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, at::ScalarType dtype)
      : checkpoint_(checkpoint), dtype_(dtype), layout_(WeightLayoutOf(checkpoint.config())) {}

  absl::StatusOr<DecoderWeights> Load() {
    const ModelConfig& c = checkpoint_.config();
    DecoderWeights weights;
    ASSIGN_OR_RETURN(weights.embedding,
                     Get(layout_.embedding, {c.vocab_size, c.hidden_size}, dtype_));
    weights.layers.resize(c.num_layers);
    for (int64_t i = 0; i < c.num_layers; ++i) {
      for (const NormSlot& slot : kNorms) {
        const NormLayout& norm = layout_.*slot.layout;
        if (norm.name.empty()) continue;
        at::Tensor absent;
        RETURN_IF_ERROR(GetNorm(layout_.LayerName(i, norm.name), norm,
                                weights.layers[i].*slot.weight,
                                slot.bias ? weights.layers[i].*slot.bias : absent));
      }
      for (const LinearSlot& slot : kLinears) {
        const FusedLinear& linear = layout_.*slot.layout;
        ASSIGN_OR_RETURN(weights.layers[i].*slot.weight, GetRows(i, linear, ".weight"));
        if (!linear.bias) continue;
        ASSIGN_OR_RETURN(weights.layers[i].*slot.bias, GetRows(i, linear, ".bias"));
      }
    }
    RETURN_IF_ERROR(GetNorm(layout_.final_norm.name, layout_.final_norm, weights.final_norm,
                            weights.final_norm_bias));
    if (layout_.head.empty()) {
      weights.head = weights.embedding;
    } else {
      ASSIGN_OR_RETURN(weights.head, Get(layout_.head, {c.vocab_size, c.hidden_size}, dtype_));
    }
    return weights;
  }

 private:
  absl::StatusOr<at::Tensor> Get(const std::string& name, const std::vector<int64_t>& shape,
                                 at::ScalarType type) {
    ASSIGN_OR_RETURN(const TensorView view, checkpoint_.Find(name, shape));
    return TensorFromView(absl::StrCat(checkpoint_.folder(), ": ", name), view, type);
  }

  absl::Status GetNorm(const std::string& name, const NormLayout& norm, at::Tensor& weight,
                       at::Tensor& bias) {
    ASSIGN_OR_RETURN(weight, Get(name + ".weight", {norm.size}, at::kFloat));
    const double offset = checkpoint_.config().norm_offset;
    if (offset != 0) weight = weight + offset;
    if (norm.bias) {
      ASSIGN_OR_RETURN(bias, Get(name + ".bias", {norm.size}, at::kFloat));
    }
    return absl::OkStatus();
  }

  // A fused matrix, or its bias.
  absl::StatusOr<at::Tensor> GetRows(int64_t layer, const FusedLinear& linear, const char* kind) {
    const bool matrix = std::string(kind) == ".weight";
    std::vector<at::Tensor> parts;
    for (const LinearPart& part : linear.parts) {
      std::vector<int64_t> shape = {part.out};
      if (matrix) shape.push_back(linear.in);
      ASSIGN_OR_RETURN(const at::Tensor tensor, Get(layout_.LayerName(layer, part.name) + kind,
                                                    shape, matrix ? dtype_ : at::kFloat));
      parts.push_back(RowsFromFiles(linear, tensor));
    }
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
  }

  const Checkpoint& checkpoint_;
  const at::ScalarType dtype_;
  const WeightLayout layout_;
};

}  // namespace

absl::StatusOr<DecoderWeights> LoadDecoderWeights(const Checkpoint& checkpoint,
                                                  at::ScalarType dtype) {
  return Loader(checkpoint, dtype).Load();
}

DecoderWeights InitDecoderWeights(const ModelConfig& config, uint64_t seed) {
  const WeightLayout layout = WeightLayoutOf(config);
  const at::TensorOptions fp32(at::kFloat);
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto normal = [&](int64_t rows, int64_t columns, double deviation) {
    return at::randn({rows, columns}, generator, fp32) * deviation;
  };
  const double deviation = 0.02;
  const double residual = deviation / std::sqrt(2.0 * config.num_layers);
  DecoderWeights weights;
  weights.embedding = normal(config.vocab_size, config.hidden_size, deviation);
  weights.layers.resize(config.num_layers);
  for (DecoderLayerWeights& layer : weights.layers) {
    for (const NormSlot& slot : kNorms) {
      const NormLayout& norm = layout.*slot.layout;
      if (!norm.name.empty()) layer.*slot.weight = at::ones({norm.size}, fp32);
      if (norm.bias && slot.bias) layer.*slot.bias = at::zeros({norm.size}, fp32);
    }
    for (const LinearSlot& slot : kLinears) {
      const FusedLinear& linear = layout.*slot.layout;
      layer.*slot.weight = normal(linear.out(), linear.in, slot.residual ? residual : deviation);
      if (linear.bias) layer.*slot.bias = at::zeros({linear.out()}, fp32);
    }
  }
  weights.final_norm = at::ones({config.hidden_size}, fp32);
  if (layout.final_norm.bias) weights.final_norm_bias = at::zeros({config.hidden_size}, fp32);
  weights.head = layout.head.empty() ? weights.embedding
                                     : normal(config.vocab_size, config.hidden_size, deviation);
  return weights;
}

std::map<std::string, at::Tensor> NamedDecoderWeights(const ModelConfig& config,
                                                      const DecoderWeights& weights) {
  const WeightLayout layout = WeightLayoutOf(config);
  std::map<std::string, at::Tensor> named;
  const auto add_norm = [&](const std::string& name, const at::Tensor& factors,
                            const at::Tensor& bias) {
    named[name + ".weight"] = config.norm_offset == 0 ? factors : factors - config.norm_offset;
    if (bias.defined()) named[name + ".bias"] = bias;
  };
  named[layout.embedding] = weights.embedding;
  if (!layout.head.empty()) named[layout.head] = weights.head;
  add_norm(layout.final_norm.name, weights.final_norm, weights.final_norm_bias);
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const DecoderLayerWeights& layer = weights.layers[i];
    for (const NormSlot& slot : kNorms) {
      const NormLayout& norm = layout.*slot.layout;
      if (norm.name.empty()) continue;
      add_norm(layout.LayerName(i, norm.name), layer.*slot.weight,
               slot.bias ? layer.*slot.bias : at::Tensor());
    }
    for (const LinearSlot& slot : kLinears) {
      const FusedLinear& linear = layout.*slot.layout;
      int64_t row = 0;
      for (const LinearPart& part : linear.parts) {
        const std::string name = layout.LayerName(i, part.name);
        const auto part_of = [&](const at::Tensor& rows) {
          return RowsToFiles(linear, rows.narrow(0, row, part.out));
        };
        named[name + ".weight"] = part_of(layer.*slot.weight);
        if (linear.bias) named[name + ".bias"] = part_of(layer.*slot.bias);
        row += part.out;
      }
    }
  }
  return named;
}

std::vector<at::Tensor> DecoderParameters(const ModelConfig& config,
                                          const DecoderWeights& weights) {
  std::vector<at::Tensor> parameters;
  const auto add = [&](std::initializer_list<at::Tensor> some) {
    for (const at::Tensor& tensor : some) {
      if (tensor.defined()) parameters.push_back(tensor);
    }
  };
  add({weights.embedding, weights.final_norm, weights.final_norm_bias});
  for (const DecoderLayerWeights& layer : weights.layers) {
    add({layer.attention_norm, layer.qkv, layer.attention_output, layer.mlp_norm, layer.gate_up,
         layer.down, layer.qkv_bias, layer.attention_output_bias, layer.query_norm, layer.key_norm,
         layer.attention_output_norm, layer.mlp_output_norm, layer.gate_up_bias, layer.down_bias,
         layer.attention_norm_bias, layer.mlp_norm_bias});
  }
  if (!config.tie_word_embeddings) parameters.push_back(weights.head);
  return parameters;
}

}  // namespace unlearn
