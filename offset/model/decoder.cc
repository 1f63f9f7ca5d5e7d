#include "offset/model/decoder.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/matrix_product.h"
#include "offset/model/tensor_io.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  return wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps) * weight;
}

// x: [..., in] -> [..., out], plus the bias and the LoRA addition where there are any.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const LoraLinear* lora,
                  const at::Tensor& bias = at::Tensor()) {
  at::Tensor y = at::linear(x.to(weight.scalar_type()), weight);
  if (bias.defined()) y = y + bias;
  if (lora == nullptr || !lora->a.defined()) return y;
  const at::Tensor low = at::linear(x, lora->a);
  if (y.scalar_type() != low.scalar_type()) return y + at::linear(low, lora->b);
  // One pass over y less: the product is added where y lies.
  y.view({-1, y.size(-1)}).addmm_(low.view({-1, low.size(-1)}), lora->b.t());
  return y;
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

std::string LayerName(int64_t layer, absl::string_view rest, absl::string_view kind = "weight") {
  return absl::StrCat("model.layers.", layer, ".", rest, ".", kind);
}

}  // namespace

void Decoder::MakeRopes() {
  rope_ = MakeRopeTable(config_);
  rope_cosine_ = RopeTensor(rope_.cosine, rope_.half);
  rope_sine_ = RopeTensor(rope_.sine, rope_.half);
  local_rope_ = MakeLocalRopeTable(config_);
  if (local_rope_.half == 0) return;
  local_rope_cosine_ = RopeTensor(local_rope_.cosine, local_rope_.half);
  local_rope_sine_ = RopeTensor(local_rope_.sine, local_rope_.half);
}

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Load(const Checkpoint& checkpoint,
                                                       at::ScalarType dtype) {
  return CatchTorch(
      absl::StrCat("loading ", checkpoint.folder()),
      [&]() -> absl::StatusOr<std::unique_ptr<Decoder>> {
        auto decoder = std::unique_ptr<Decoder>(new Decoder);
        const ModelConfig& c = decoder->config_ = checkpoint.config();
        const auto get = [&](const std::string& name, const std::vector<int64_t>& shape,
                             at::ScalarType type) -> absl::StatusOr<at::Tensor> {
          ASSIGN_OR_RETURN(const TensorView view, checkpoint.Find(name, shape));
          return TensorFromView(absl::StrCat(checkpoint.folder(), ": ", name), view, type);
        };
        // A norm's factors; the files may hold them less one.
        const auto get_norm = [&](const std::string& name,
                                  int64_t size) -> absl::StatusOr<at::Tensor> {
          ASSIGN_OR_RETURN(const at::Tensor weight, get(name, {size}, at::kFloat));
          return c.norm_offset == 0 ? weight : weight + c.norm_offset;
        };
        // Where output norms stand, HF's name for the norm before the MLP is another.
        const char* const mlp_norm =
            c.output_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm";
        ASSIGN_OR_RETURN(decoder->embedding_,
                         get("model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, dtype));
        const int64_t q = c.num_heads * c.head_dim;
        const int64_t kv = c.num_kv_heads * c.head_dim;
        for (int64_t i = 0; i < c.num_layers; ++i) {
          DecoderLayerWeights layer;
          ASSIGN_OR_RETURN(layer.attention_norm,
                           get_norm(LayerName(i, "input_layernorm"), c.hidden_size));
          if (c.fused_projections) {
            ASSIGN_OR_RETURN(layer.qkv, get(LayerName(i, "self_attn.qkv_proj"),
                                            {c.qkv_size(), c.hidden_size}, dtype));
          } else {
            ASSIGN_OR_RETURN(const at::Tensor query,
                             get(LayerName(i, "self_attn.q_proj"), {q, c.hidden_size}, dtype));
            ASSIGN_OR_RETURN(const at::Tensor key,
                             get(LayerName(i, "self_attn.k_proj"), {kv, c.hidden_size}, dtype));
            ASSIGN_OR_RETURN(const at::Tensor value,
                             get(LayerName(i, "self_attn.v_proj"), {kv, c.hidden_size}, dtype));
            layer.qkv = at::cat({query, key, value}, 0);
          }
          if (c.qkv_bias) {
            ASSIGN_OR_RETURN(const at::Tensor query,
                             get(LayerName(i, "self_attn.q_proj", "bias"), {q}, at::kFloat));
            ASSIGN_OR_RETURN(const at::Tensor key,
                             get(LayerName(i, "self_attn.k_proj", "bias"), {kv}, at::kFloat));
            ASSIGN_OR_RETURN(const at::Tensor value,
                             get(LayerName(i, "self_attn.v_proj", "bias"), {kv}, at::kFloat));
            layer.qkv_bias = at::cat({query, key, value}, 0);
          }
          if (c.attention_output_bias) {
            ASSIGN_OR_RETURN(
                layer.attention_output_bias,
                get(LayerName(i, "self_attn.o_proj", "bias"), {c.hidden_size}, at::kFloat));
          }
          if (c.query_key_norm) {
            ASSIGN_OR_RETURN(layer.query_norm,
                             get_norm(LayerName(i, "self_attn.q_norm"), c.head_dim));
            ASSIGN_OR_RETURN(layer.key_norm,
                             get_norm(LayerName(i, "self_attn.k_norm"), c.head_dim));
          }
          ASSIGN_OR_RETURN(layer.attention_output,
                           get(LayerName(i, "self_attn.o_proj"), {c.hidden_size, q}, dtype));
          ASSIGN_OR_RETURN(layer.mlp_norm, get_norm(LayerName(i, mlp_norm), c.hidden_size));
          if (c.output_norms) {
            ASSIGN_OR_RETURN(layer.attention_output_norm,
                             get_norm(LayerName(i, "post_attention_layernorm"), c.hidden_size));
            ASSIGN_OR_RETURN(layer.mlp_output_norm,
                             get_norm(LayerName(i, "post_feedforward_layernorm"), c.hidden_size));
          }
          const std::vector<int64_t> wide = {c.intermediate_size, c.hidden_size};
          if (c.fused_projections) {
            ASSIGN_OR_RETURN(layer.gate_up, get(LayerName(i, "mlp.gate_up_proj"),
                                                {2 * c.intermediate_size, c.hidden_size}, dtype));
          } else {
            ASSIGN_OR_RETURN(const at::Tensor gate,
                             get(LayerName(i, "mlp.gate_proj"), wide, dtype));
            ASSIGN_OR_RETURN(const at::Tensor up, get(LayerName(i, "mlp.up_proj"), wide, dtype));
            layer.gate_up = at::cat({gate, up}, 0);
          }
          ASSIGN_OR_RETURN(layer.down, get(LayerName(i, "mlp.down_proj"),
                                           {c.hidden_size, c.intermediate_size}, dtype));
          decoder->layers_.push_back(std::move(layer));
        }
        ASSIGN_OR_RETURN(decoder->final_norm_, get_norm("model.norm.weight", c.hidden_size));
        if (c.tie_word_embeddings) {
          decoder->head_ = decoder->embedding_;
        } else {
          ASSIGN_OR_RETURN(decoder->head_,
                           get("lm_head.weight", {c.vocab_size, c.hidden_size}, dtype));
        }
        decoder->MakeRopes();
        return decoder;
      });
}

std::unique_ptr<Decoder> Decoder::Init(const ModelConfig& config, uint64_t seed) {
  auto decoder = std::unique_ptr<Decoder>(new Decoder);
  const ModelConfig& c = decoder->config_ = config;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto normal = [&](int64_t rows, int64_t columns, double deviation) {
    return at::randn({rows, columns}, generator, at::TensorOptions(at::kFloat)) * deviation;
  };
  const double deviation = 0.02;
  const double residual = deviation / std::sqrt(2.0 * c.num_layers);
  decoder->embedding_ = normal(c.vocab_size, c.hidden_size, deviation);
  const int64_t q = c.num_heads * c.head_dim;
  const at::Tensor ones = at::ones({c.hidden_size}, at::TensorOptions(at::kFloat));
  for (int64_t i = 0; i < c.num_layers; ++i) {
    DecoderLayerWeights layer;
    layer.attention_norm = ones.clone();
    layer.qkv = normal(c.qkv_size(), c.hidden_size, deviation);
    layer.attention_output = normal(c.hidden_size, q, residual);
    if (c.qkv_bias) layer.qkv_bias = at::zeros({c.qkv_size()}, at::TensorOptions(at::kFloat));
    if (c.attention_output_bias) layer.attention_output_bias = at::zeros_like(ones);
    if (c.query_key_norm) {
      layer.query_norm = at::ones({c.head_dim}, at::TensorOptions(at::kFloat));
      layer.key_norm = layer.query_norm.clone();
    }
    if (c.output_norms) {
      layer.attention_output_norm = ones.clone();
      layer.mlp_output_norm = ones.clone();
    }
    layer.mlp_norm = ones.clone();
    layer.gate_up = normal(2 * c.intermediate_size, c.hidden_size, deviation);
    layer.down = normal(c.hidden_size, c.intermediate_size, residual);
    decoder->layers_.push_back(std::move(layer));
  }
  decoder->final_norm_ = ones.clone();
  decoder->head_ =
      c.tie_word_embeddings ? decoder->embedding_ : normal(c.vocab_size, c.hidden_size, deviation);
  decoder->MakeRopes();
  return decoder;
}

at::Tensor Decoder::Forward(const at::Tensor& tokens, const LoraStack& lora) const {
  const int64_t batch = tokens.size(0);
  const int64_t length = tokens.size(1);
  const auto split_heads = [&](const at::Tensor& x, int64_t heads) {
    return x.reshape({batch, length, heads, config_.head_dim}).transpose(1, 2);
  };
  at::Tensor x = at::embedding(embedding_, tokens).to(at::kFloat);
  if (config_.embedding_scale != 1) x = x * config_.embedding_scale;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const DecoderLayerWeights& layer = layers_[i];
    const LoraLayer* added = lora.empty() ? nullptr : &lora.layers[i];
    const at::Tensor normed = RmsNorm(x, layer.attention_norm, config_.rms_norm_eps);
    const at::Tensor qkv = Linear(normed, layer.qkv, added ? &added->qkv : nullptr, layer.qkv_bias);
    const std::vector<at::Tensor> parts = qkv.split_with_sizes(
        {config_.num_heads * config_.head_dim, config_.num_kv_heads * config_.head_dim,
         config_.num_kv_heads * config_.head_dim},
        -1);
    at::Tensor query = split_heads(parts[0], config_.num_heads);
    at::Tensor key = split_heads(parts[1], config_.num_kv_heads);
    if (layer.query_norm.defined()) {
      query = RmsNorm(query, layer.query_norm, config_.rms_norm_eps);
      key = RmsNorm(key, layer.key_norm, config_.rms_norm_eps);
    }
    const int64_t window = config_.WindowOf(i);
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
    at::Tensor attention =
        Linear(attended, layer.attention_output, added ? &added->attention_output : nullptr,
               layer.attention_output_bias);
    if (config_.output_norms) {
      attention = RmsNorm(attention, layer.attention_output_norm, config_.rms_norm_eps);
    }
    x = x + attention;
    const at::Tensor middle = RmsNorm(x, layer.mlp_norm, config_.rms_norm_eps);
    const std::vector<at::Tensor> gate_up =
        Linear(middle, layer.gate_up, added ? &added->gate_up : nullptr).chunk(2, -1);
    const at::Tensor gate = config_.gelu ? at::gelu(gate_up[0], "tanh") : at::silu(gate_up[0]);
    at::Tensor mlp = Linear(gate * gate_up[1], layer.down, added ? &added->down : nullptr);
    if (config_.output_norms) mlp = RmsNorm(mlp, layer.mlp_output_norm, config_.rms_norm_eps);
    x = x + mlp;
  }
  return RmsNorm(x, final_norm_, config_.rms_norm_eps);
}

at::Tensor Decoder::Logits(const at::Tensor& hidden) const {
  // fp32 rows with whatever the head is held in: bf16 logits would have steps of 1/16 near 10, and
  // δ is smaller than that.
  if (at::GradMode::is_enabled() && (hidden.requires_grad() || head_.requires_grad())) {
    return at::linear(hidden, head_.to(at::kFloat)).to(at::kFloat);
  }
  std::vector<int64_t> shape = hidden.sizes().vec();
  shape.back() = config_.vocab_size;
  const at::Tensor rows = hidden.reshape({-1, config_.hidden_size}).contiguous();
  return MultiplyByWeight(rows, head_).view(shape);
}

std::map<std::string, at::Tensor> Decoder::NamedWeights() const {
  std::map<std::string, at::Tensor> named;
  const int64_t q = config_.num_heads * config_.head_dim;
  const int64_t kv = config_.num_kv_heads * config_.head_dim;
  const auto norm = [&](const at::Tensor& factors) {
    return config_.norm_offset == 0 ? factors : factors - config_.norm_offset;
  };
  named["model.embed_tokens.weight"] = embedding_;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const DecoderLayerWeights& layer = layers_[i];
    named[LayerName(i, "input_layernorm")] = norm(layer.attention_norm);
    if (config_.fused_projections) {
      named[LayerName(i, "self_attn.qkv_proj")] = layer.qkv;
    } else {
      const std::vector<at::Tensor> parts = layer.qkv.split_with_sizes({q, kv, kv}, 0);
      named[LayerName(i, "self_attn.q_proj")] = parts[0];
      named[LayerName(i, "self_attn.k_proj")] = parts[1];
      named[LayerName(i, "self_attn.v_proj")] = parts[2];
    }
    if (layer.qkv_bias.defined()) {
      const std::vector<at::Tensor> parts = layer.qkv_bias.split_with_sizes({q, kv, kv}, 0);
      named[LayerName(i, "self_attn.q_proj", "bias")] = parts[0];
      named[LayerName(i, "self_attn.k_proj", "bias")] = parts[1];
      named[LayerName(i, "self_attn.v_proj", "bias")] = parts[2];
    }
    if (layer.attention_output_bias.defined()) {
      named[LayerName(i, "self_attn.o_proj", "bias")] = layer.attention_output_bias;
    }
    if (layer.query_norm.defined()) {
      named[LayerName(i, "self_attn.q_norm")] = norm(layer.query_norm);
      named[LayerName(i, "self_attn.k_norm")] = norm(layer.key_norm);
    }
    named[LayerName(i, "self_attn.o_proj")] = layer.attention_output;
    if (config_.output_norms) {
      named[LayerName(i, "post_attention_layernorm")] = norm(layer.attention_output_norm);
      named[LayerName(i, "pre_feedforward_layernorm")] = norm(layer.mlp_norm);
      named[LayerName(i, "post_feedforward_layernorm")] = norm(layer.mlp_output_norm);
    } else {
      named[LayerName(i, "post_attention_layernorm")] = norm(layer.mlp_norm);
    }
    if (config_.fused_projections) {
      named[LayerName(i, "mlp.gate_up_proj")] = layer.gate_up;
    } else {
      const std::vector<at::Tensor> gate_up = layer.gate_up.chunk(2, 0);
      named[LayerName(i, "mlp.gate_proj")] = gate_up[0];
      named[LayerName(i, "mlp.up_proj")] = gate_up[1];
    }
    named[LayerName(i, "mlp.down_proj")] = layer.down;
  }
  named["model.norm.weight"] = norm(final_norm_);
  if (!config_.tie_word_embeddings) named["lm_head.weight"] = head_;
  return named;
}

std::vector<at::Tensor> Decoder::Parameters() const {
  std::vector<at::Tensor> parameters = {embedding_, final_norm_};
  for (const DecoderLayerWeights& layer : layers_) {
    parameters.insert(parameters.end(), {layer.attention_norm, layer.qkv, layer.attention_output,
                                         layer.mlp_norm, layer.gate_up, layer.down});
    for (const at::Tensor& some :
         {layer.qkv_bias, layer.attention_output_bias, layer.query_norm, layer.key_norm,
          layer.attention_output_norm, layer.mlp_output_norm}) {
      if (some.defined()) parameters.push_back(some);
    }
  }
  if (!config_.tie_word_embeddings) parameters.push_back(head_);
  return parameters;
}

}  // namespace unlearn
