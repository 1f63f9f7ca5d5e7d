#include "offset/cuda/device_weights.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"
#include "offset/cuda/device_kernels.h"

namespace unlearn {
namespace {

// One row must fit a block's shared memory, 48 KiB without asking for more.
constexpr int64_t kMaxHidden = 12000;

absl::Status CheckShape(const ModelConfig& config) {
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxDeviceHeadDim) {
    return absl::UnimplementedError(absl::StrCat("head_dim is ", config.head_dim,
                                                 ", the GPU kernels take even ones up to ",
                                                 kMaxDeviceHeadDim, "; use --device=cpu"));
  }
  if (config.hidden_size > kMaxHidden) {
    return absl::UnimplementedError(absl::StrCat("hidden_size is ", config.hidden_size,
                                                 ", the GPU kernels take up to ", kMaxHidden,
                                                 "; use --device=cpu"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DeviceWeights> CopyWeights(const Decoder& decoder, at::ScalarType dtype,
                                          at::Device device) {
  if (absl::Status status = CheckShape(decoder.config()); !status.ok()) return status;
  DeviceWeights weights;
  const auto matrix = [&](const at::Tensor& from) {
    weights.bytes_per_step += from.numel() * static_cast<int64_t>(at::elementSize(dtype));
    return from.to(device, dtype).contiguous();
  };
  const auto vector = [&](const at::Tensor& from) {
    if (!from.defined()) return at::Tensor();
    weights.bytes_per_step += from.numel() * static_cast<int64_t>(sizeof(float));
    return from.to(device, at::kFloat).contiguous();
  };
  for (const DecoderLayerWeights& from : decoder.layers()) {
    DecoderLayerWeights layer;
    layer.attention_norm = vector(from.attention_norm);
    layer.qkv = matrix(from.qkv);
    layer.attention_output = matrix(from.attention_output);
    layer.gate_up_bias = vector(from.gate_up_bias);
    layer.down_bias = vector(from.down_bias);
    layer.attention_norm_bias = vector(from.attention_norm_bias);
    layer.mlp_norm_bias = vector(from.mlp_norm_bias);
    layer.qkv_bias = vector(from.qkv_bias);
    layer.attention_output_bias = vector(from.attention_output_bias);
    layer.attention_output_norm = vector(from.attention_output_norm);
    layer.mlp_output_norm = vector(from.mlp_output_norm);
    layer.query_norm = vector(from.query_norm);
    layer.key_norm = vector(from.key_norm);
    layer.mlp_norm = vector(from.mlp_norm);
    layer.gate_up = matrix(from.gate_up);
    layer.down = matrix(from.down);
    weights.layers.push_back(std::move(layer));
  }
  weights.final_norm = vector(decoder.final_norm());
  weights.final_norm_bias = vector(decoder.final_norm_bias());
  weights.head = matrix(decoder.head());
  weights.embedding = decoder.head().is_same(decoder.embedding())
                          ? weights.head
                          : decoder.embedding().to(device, dtype).contiguous();
  const auto table = [&](const std::vector<float>& values, int64_t half) {
    return at::tensor(values, at::TensorOptions(at::kFloat)).view({-1, half}).to(device);
  };
  for (int64_t layer = 0; layer < decoder.config().num_layers; ++layer) {
    const RopeTable& rope = decoder.rope(layer);
    const bool local =
        decoder.config().local_rope_theta > 0 && decoder.config().WindowOf(layer) > 0;
    at::Tensor& cosine = local ? weights.local_cosine : weights.cosine;
    at::Tensor& sine = local ? weights.local_sine : weights.sine;
    if (cosine.defined()) continue;
    cosine = table(rope.cosine, rope.half);
    sine = table(rope.sine, rope.half);
  }
  return weights;
}

}  // namespace unlearn
