#include "offset/model/decoder.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/matrix_product.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  return wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps) * weight;
}

// The family's norm over the hidden size.
at::Tensor Norm(const ModelConfig& config, const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& bias) {
  if (!config.layer_norm) return RmsNorm(x, weight, config.norm_eps);
  return at::layer_norm(x.to(at::kFloat), {x.size(-1)}, weight, bias, config.norm_eps);
}

// x: [..., in] -> [..., out], plus the bias and the LoRA addition where there are any.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const LoraLinear* lora,
                  const at::Tensor& bias) {
  at::Tensor y = at::linear(x.to(weight.scalar_type()), weight);
  if (bias.defined()) y = y + bias;
  if (lora == nullptr || !lora->a.defined()) return y;
  const at::Tensor low = at::linear(x, lora->a);
  if (y.scalar_type() != low.scalar_type()) return y + at::linear(low, lora->b);
  // One pass over y less: the product is added where y lies.
  y.view({-1, y.size(-1)}).addmm_(low.view({-1, low.size(-1)}), lora->b.t());
  return y;
}

at::Tensor Activate(ModelConfig::Activation activation, const at::Tensor& x) {
  switch (activation) {
    case ModelConfig::Activation::kSilu:
      return at::silu(x);
    case ModelConfig::Activation::kGelu:
      return at::gelu(x);
    case ModelConfig::Activation::kGeluTanh:
      return at::gelu(x, "tanh");
  }
  return x;
}

// x: [batch, heads, length, head_dim]; cosine, sine: [length, rotary_size / 2]. What of a head lies
// beyond rotary_size is left as it is.
at::Tensor Rotate(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine) {
  const at::Tensor wide = x.to(at::kFloat);
  const int64_t half = cosine.size(1);
  const at::Tensor first = wide.narrow(-1, 0, half);
  const at::Tensor second = wide.narrow(-1, half, half);
  std::vector<at::Tensor> parts = {first * cosine - second * sine, second * cosine + first * sine};
  if (2 * half < wide.size(-1)) {
    parts.push_back(wide.narrow(-1, 2 * half, wide.size(-1) - 2 * half));
  }
  return at::cat(parts, -1);
}

// [length, length], true where a position is seen: itself and the window - 1 before it.
at::Tensor WindowMask(int64_t length, int64_t window) {
  const at::Tensor seen = at::ones({length, length}, at::TensorOptions(at::kBool));
  return seen.tril().logical_and(seen.triu(1 - window));
}

at::Tensor RopeTensor(const std::vector<float>& table, int64_t half) {
  return at::tensor(table, at::TensorOptions(at::kFloat)).view({-1, half});
}

}  // namespace

Decoder::Decoder(const ModelConfig& config, DecoderWeights weights)
    : config_(config),
      weights_(std::move(weights)),
      rope_(MakeRopeTable(config_)),
      rope_cosine_(RopeTensor(rope_.cosine, rope_.half)),
      rope_sine_(RopeTensor(rope_.sine, rope_.half)),
      local_rope_(MakeLocalRopeTable(config_)) {
  if (local_rope_.half == 0) return;
  local_rope_cosine_ = RopeTensor(local_rope_.cosine, local_rope_.half);
  local_rope_sine_ = RopeTensor(local_rope_.sine, local_rope_.half);
}

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Load(const Checkpoint& checkpoint,
                                                       at::ScalarType dtype) {
  return CatchTorch(
      absl::StrCat("loading ", checkpoint.folder()),
      [&]() -> absl::StatusOr<std::unique_ptr<Decoder>> {
        ASSIGN_OR_RETURN(DecoderWeights weights, LoadDecoderWeights(checkpoint, dtype));
        return std::unique_ptr<Decoder>(new Decoder(checkpoint.config(), std::move(weights)));
      });
}

std::unique_ptr<Decoder> Decoder::Init(const ModelConfig& config, uint64_t seed) {
  return std::unique_ptr<Decoder>(new Decoder(config, InitDecoderWeights(config, seed)));
}

at::Tensor Decoder::Forward(const at::Tensor& tokens, const LoraStack& lora) const {
  at::Tensor x = at::embedding(weights_.embedding, tokens).to(at::kFloat);
  if (config_.embedding_scale != 1) x = x * config_.embedding_scale;
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const DecoderLayerWeights& layer = weights_.layers[i];
    const LoraLayer* added = lora.empty() ? nullptr : &lora.layers[i];
    const at::Tensor before = x;
    x = x + Attend(Norm(config_, x, layer.attention_norm, layer.attention_norm_bias), i, added);
    const at::Tensor& middle = config_.parallel_residual ? before : x;
    x = x + Mlp(Norm(config_, middle, layer.mlp_norm, layer.mlp_norm_bias), i, added);
  }
  return Norm(config_, x, weights_.final_norm, weights_.final_norm_bias);
}

// normed: [batch, length, hidden]; returns the same shape.
at::Tensor Decoder::Attend(const at::Tensor& normed, int64_t index, const LoraLayer* added) const {
  const DecoderLayerWeights& layer = weights_.layers[index];
  const int64_t batch = normed.size(0);
  const int64_t length = normed.size(1);
  const auto split_heads = [&](const at::Tensor& x, int64_t heads) {
    return x.reshape({batch, length, heads, config_.head_dim}).transpose(1, 2);
  };
  const at::Tensor qkv = Linear(normed, layer.qkv, added ? &added->qkv : nullptr, layer.qkv_bias);
  const int64_t kv = config_.num_kv_heads * config_.head_dim;
  const std::vector<at::Tensor> parts =
      qkv.split_with_sizes({config_.num_heads * config_.head_dim, kv, kv}, -1);
  at::Tensor query = split_heads(parts[0], config_.num_heads);
  at::Tensor key = split_heads(parts[1], config_.num_kv_heads);
  if (layer.query_norm.defined()) {
    query = RmsNorm(query, layer.query_norm, config_.norm_eps);
    key = RmsNorm(key, layer.key_norm, config_.norm_eps);
  }
  const int64_t window = config_.WindowOf(index);
  const bool local = window > 0 && local_rope_.half > 0;
  const at::Tensor cosine = (local ? local_rope_cosine_ : rope_cosine_).narrow(0, 0, length);
  const at::Tensor sine = (local ? local_rope_sine_ : rope_sine_).narrow(0, 0, length);
  query = Rotate(query, cosine, sine);
  key = Rotate(key, cosine, sine);
  const bool masked = window > 0 && window < length;
  const at::Tensor value = split_heads(parts[2], config_.num_kv_heads);
  at::Tensor attended = at::scaled_dot_product_attention(
      query.to(value.scalar_type()), key.to(value.scalar_type()), value,
      masked ? std::optional<at::Tensor>(WindowMask(length, window)) : std::nullopt,
      /*dropout_p=*/0.0, /*is_causal=*/!masked,
      /*scale=*/config_.AttentionScale(), /*enable_gqa=*/true);
  attended = attended.transpose(1, 2).reshape({batch, length, -1});
  const at::Tensor output =
      Linear(attended, layer.attention_output, added ? &added->attention_output : nullptr,
             layer.attention_output_bias);
  return config_.output_norms ? RmsNorm(output, layer.attention_output_norm, config_.norm_eps)
                              : output;
}

// normed: [batch, length, hidden]; returns the same shape.
at::Tensor Decoder::Mlp(const at::Tensor& normed, int64_t index, const LoraLayer* added) const {
  const DecoderLayerWeights& layer = weights_.layers[index];
  at::Tensor inner =
      Linear(normed, layer.gate_up, added ? &added->gate_up : nullptr, layer.gate_up_bias);
  if (config_.gated_mlp) {
    const std::vector<at::Tensor> gate_up = inner.chunk(2, -1);
    inner = Activate(config_.activation, gate_up[0]) * gate_up[1];
  } else {
    inner = Activate(config_.activation, inner);
  }
  const at::Tensor output =
      Linear(inner, layer.down, added ? &added->down : nullptr, layer.down_bias);
  return config_.output_norms ? RmsNorm(output, layer.mlp_output_norm, config_.norm_eps) : output;
}

at::Tensor Decoder::Logits(const at::Tensor& hidden) const {
  const at::Tensor& head = weights_.head;
  // fp32 rows with whatever the head is held in: bf16 logits would have steps of 1/16 near 10, and
  // δ is smaller than that.
  if (at::GradMode::is_enabled() && (hidden.requires_grad() || head.requires_grad())) {
    return at::linear(hidden, head.to(at::kFloat)).to(at::kFloat);
  }
  std::vector<int64_t> shape = hidden.sizes().vec();
  shape.back() = config_.vocab_size;
  const at::Tensor rows = hidden.reshape({-1, config_.hidden_size}).contiguous();
  return MultiplyByWeight(rows, head).view(shape);
}

}  // namespace unlearn
