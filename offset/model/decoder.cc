#include "offset/model/decoder.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/tensor_io.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  return wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps) * weight;
}

// x: [..., in] -> [..., out], plus the LoRA addition where there is one.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const LoraLinear* lora) {
  at::Tensor y = at::linear(x.to(weight.scalar_type()), weight);
  if (lora == nullptr || !lora->a.defined()) return y;
  const at::Tensor low = at::linear(x, lora->a);
  if (y.scalar_type() != low.scalar_type()) return y + at::linear(low, lora->b);
  // One pass over y less: the product is added where y lies.
  y.view({-1, y.size(-1)}).addmm_(low.view({-1, low.size(-1)}), lora->b.t());
  return y;
}

// x: [batch, heads, length, head_dim]; cosine, sine: [length, head_dim / 2].
at::Tensor Rotate(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine) {
  const std::vector<at::Tensor> halves = x.to(at::kFloat).chunk(2, -1);
  return at::cat({halves[0] * cosine - halves[1] * sine, halves[1] * cosine + halves[0] * sine},
                 -1);
}

at::Tensor RopeTensor(const std::vector<float>& table, int64_t half) {
  return at::tensor(table, at::TensorOptions(at::kFloat)).view({-1, half});
}

std::string LayerName(int64_t layer, absl::string_view rest) {
  return absl::StrCat("model.layers.", layer, ".", rest, ".weight");
}

}  // namespace

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
        ASSIGN_OR_RETURN(decoder->embedding_,
                         get("model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, dtype));
        const int64_t q = c.num_heads * c.head_dim;
        const int64_t kv = c.num_kv_heads * c.head_dim;
        for (int64_t i = 0; i < c.num_layers; ++i) {
          DecoderLayerWeights layer;
          ASSIGN_OR_RETURN(layer.attention_norm,
                           get(LayerName(i, "input_layernorm"), {c.hidden_size}, at::kFloat));
          ASSIGN_OR_RETURN(const at::Tensor query,
                           get(LayerName(i, "self_attn.q_proj"), {q, c.hidden_size}, dtype));
          ASSIGN_OR_RETURN(const at::Tensor key,
                           get(LayerName(i, "self_attn.k_proj"), {kv, c.hidden_size}, dtype));
          ASSIGN_OR_RETURN(const at::Tensor value,
                           get(LayerName(i, "self_attn.v_proj"), {kv, c.hidden_size}, dtype));
          layer.qkv = at::cat({query, key, value}, 0);
          ASSIGN_OR_RETURN(layer.attention_output,
                           get(LayerName(i, "self_attn.o_proj"), {c.hidden_size, q}, dtype));
          ASSIGN_OR_RETURN(layer.mlp_norm, get(LayerName(i, "post_attention_layernorm"),
                                               {c.hidden_size}, at::kFloat));
          const std::vector<int64_t> wide = {c.intermediate_size, c.hidden_size};
          ASSIGN_OR_RETURN(const at::Tensor gate, get(LayerName(i, "mlp.gate_proj"), wide, dtype));
          ASSIGN_OR_RETURN(const at::Tensor up, get(LayerName(i, "mlp.up_proj"), wide, dtype));
          layer.gate_up = at::cat({gate, up}, 0);
          ASSIGN_OR_RETURN(layer.down, get(LayerName(i, "mlp.down_proj"),
                                           {c.hidden_size, c.intermediate_size}, dtype));
          decoder->layers_.push_back(std::move(layer));
        }
        ASSIGN_OR_RETURN(decoder->final_norm_,
                         get("model.norm.weight", {c.hidden_size}, at::kFloat));
        if (c.tie_word_embeddings) {
          decoder->head_ = decoder->embedding_.to(at::kFloat);
        } else {
          // fp32, since bf16 logits have steps of 1/16 near 10 and δ is smaller than that.
          ASSIGN_OR_RETURN(decoder->head_,
                           get("lm_head.weight", {c.vocab_size, c.hidden_size}, at::kFloat));
        }
        decoder->rope_ = MakeRopeTable(c);
        decoder->rope_cosine_ = RopeTensor(decoder->rope_.cosine, decoder->rope_.half);
        decoder->rope_sine_ = RopeTensor(decoder->rope_.sine, decoder->rope_.half);
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
    layer.mlp_norm = ones.clone();
    layer.gate_up = normal(2 * c.intermediate_size, c.hidden_size, deviation);
    layer.down = normal(c.hidden_size, c.intermediate_size, residual);
    decoder->layers_.push_back(std::move(layer));
  }
  decoder->final_norm_ = ones.clone();
  decoder->head_ =
      c.tie_word_embeddings ? decoder->embedding_ : normal(c.vocab_size, c.hidden_size, deviation);
  decoder->rope_ = MakeRopeTable(c);
  decoder->rope_cosine_ = RopeTensor(decoder->rope_.cosine, decoder->rope_.half);
  decoder->rope_sine_ = RopeTensor(decoder->rope_.sine, decoder->rope_.half);
  return decoder;
}

at::Tensor Decoder::Forward(const at::Tensor& tokens, const LoraStack& lora) const {
  const int64_t batch = tokens.size(0);
  const int64_t length = tokens.size(1);
  const at::Tensor cosine = rope_cosine_.narrow(0, 0, length);
  const at::Tensor sine = rope_sine_.narrow(0, 0, length);
  const auto split_heads = [&](const at::Tensor& x, int64_t heads) {
    return x.reshape({batch, length, heads, config_.head_dim}).transpose(1, 2);
  };
  at::Tensor x = at::embedding(embedding_, tokens).to(at::kFloat);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const DecoderLayerWeights& layer = layers_[i];
    const LoraLayer* added = lora.empty() ? nullptr : &lora.layers[i];
    const at::Tensor normed = RmsNorm(x, layer.attention_norm, config_.rms_norm_eps);
    const at::Tensor qkv = Linear(normed, layer.qkv, added ? &added->qkv : nullptr);
    const std::vector<at::Tensor> parts = qkv.split_with_sizes(
        {config_.num_heads * config_.head_dim, config_.num_kv_heads * config_.head_dim,
         config_.num_kv_heads * config_.head_dim},
        -1);
    const at::Tensor query = Rotate(split_heads(parts[0], config_.num_heads), cosine, sine);
    const at::Tensor key = Rotate(split_heads(parts[1], config_.num_kv_heads), cosine, sine);
    const at::Tensor value = split_heads(parts[2], config_.num_kv_heads);
    at::Tensor attended = at::scaled_dot_product_attention(
        query.to(value.scalar_type()), key.to(value.scalar_type()), value,
        /*attn_mask=*/{}, /*dropout_p=*/0.0, /*is_causal=*/true,
        /*scale=*/1.0 / std::sqrt(static_cast<double>(config_.head_dim)), /*enable_gqa=*/true);
    attended = attended.transpose(1, 2).reshape({batch, length, -1});
    x = x + Linear(attended, layer.attention_output, added ? &added->attention_output : nullptr);
    const at::Tensor middle = RmsNorm(x, layer.mlp_norm, config_.rms_norm_eps);
    const std::vector<at::Tensor> gate_up =
        Linear(middle, layer.gate_up, added ? &added->gate_up : nullptr).chunk(2, -1);
    x = x + Linear(at::silu(gate_up[0]) * gate_up[1], layer.down, added ? &added->down : nullptr);
  }
  return RmsNorm(x, final_norm_, config_.rms_norm_eps);
}

at::Tensor Decoder::Logits(const at::Tensor& hidden) const {
  return at::linear(hidden, head_).to(at::kFloat);
}

std::map<std::string, at::Tensor> Decoder::NamedWeights() const {
  std::map<std::string, at::Tensor> named;
  const int64_t q = config_.num_heads * config_.head_dim;
  const int64_t kv = config_.num_kv_heads * config_.head_dim;
  named["model.embed_tokens.weight"] = embedding_;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const DecoderLayerWeights& layer = layers_[i];
    named[LayerName(i, "input_layernorm")] = layer.attention_norm;
    named[LayerName(i, "self_attn.q_proj")] = layer.qkv.narrow(0, 0, q);
    named[LayerName(i, "self_attn.k_proj")] = layer.qkv.narrow(0, q, kv);
    named[LayerName(i, "self_attn.v_proj")] = layer.qkv.narrow(0, q + kv, kv);
    named[LayerName(i, "self_attn.o_proj")] = layer.attention_output;
    named[LayerName(i, "post_attention_layernorm")] = layer.mlp_norm;
    const std::vector<at::Tensor> gate_up = layer.gate_up.chunk(2, 0);
    named[LayerName(i, "mlp.gate_proj")] = gate_up[0];
    named[LayerName(i, "mlp.up_proj")] = gate_up[1];
    named[LayerName(i, "mlp.down_proj")] = layer.down;
  }
  named["model.norm.weight"] = final_norm_;
  if (!config_.tie_word_embeddings) named["lm_head.weight"] = head_;
  return named;
}

std::vector<at::Tensor> Decoder::Parameters() const {
  std::vector<at::Tensor> parameters = {embedding_, final_norm_};
  for (const DecoderLayerWeights& layer : layers_) {
    parameters.insert(parameters.end(), {layer.attention_norm, layer.qkv, layer.attention_output,
                                         layer.mlp_norm, layer.gate_up, layer.down});
  }
  if (!config_.tie_word_embeddings) parameters.push_back(head_);
  return parameters;
}

}  // namespace unlearn
