#include "offset/model/weight_layout.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

// [outer, inner, rest] -> [inner, outer, rest], in the rows of one matrix or vector.
at::Tensor SwapRowGroups(const at::Tensor& rows, int64_t outer, int64_t inner) {
  std::vector<int64_t> grouped = {outer, inner, rows.size(0) / (outer * inner)};
  if (rows.dim() == 2) grouped.push_back(rows.size(1));
  return rows.reshape(grouped).transpose(0, 1).reshape(rows.sizes());
}

constexpr int64_t kQueryKeyValue = 3;

WeightLayout GptNeoXLayout(const ModelConfig& c) {
  WeightLayout layout;
  layout.embedding = "gpt_neox.embed_in.weight";
  layout.head = "embed_out.weight";
  layout.final_norm.name = "gpt_neox.final_layer_norm";
  layout.layer_prefix = "gpt_neox.layers.";
  layout.qkv.parts = {{"attention.query_key_value", c.qkv_size()}};
  layout.qkv.interleaved_heads = c.num_heads;
  layout.attention_output.parts = {{"attention.dense", c.hidden_size}};
  layout.gate_up.parts = {{"mlp.dense_h_to_4h", c.intermediate_size}};
  layout.down.parts = {{"mlp.dense_4h_to_h", c.hidden_size}};
  return layout;
}

WeightLayout LlamaLayout(const ModelConfig& c) {
  const int64_t q = c.num_heads * c.head_dim;
  const int64_t kv = c.num_kv_heads * c.head_dim;
  const int64_t i = c.intermediate_size;
  WeightLayout layout;
  layout.embedding = "model.embed_tokens.weight";
  layout.head = "lm_head.weight";
  layout.final_norm.name = "model.norm";
  layout.layer_prefix = "model.layers.";
  if (c.weight_names == ModelConfig::WeightNames::kPhi3) {
    layout.qkv.parts = {{"self_attn.qkv_proj", q + 2 * kv}};
    layout.gate_up.parts = {{"mlp.gate_up_proj", 2 * i}};
  } else {
    layout.qkv.parts = {
        {"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}};
    layout.gate_up.parts = {{"mlp.gate_proj", i}, {"mlp.up_proj", i}};
  }
  layout.attention_output.parts = {{"self_attn.o_proj", c.hidden_size}};
  layout.down.parts = {{"mlp.down_proj", c.hidden_size}};
  return layout;
}

}  // namespace

std::string WeightLayout::LayerName(int64_t layer, absl::string_view rest) const {
  return absl::StrCat(layer_prefix, layer, ".", rest);
}

WeightLayout WeightLayoutOf(const ModelConfig& c) {
  WeightLayout layout =
      c.weight_names == ModelConfig::WeightNames::kGptNeoX ? GptNeoXLayout(c) : LlamaLayout(c);
  if (c.tie_word_embeddings) layout.head.clear();
  layout.qkv.in = c.hidden_size;
  layout.qkv.bias = c.qkv_bias;
  layout.attention_output.in = c.num_heads * c.head_dim;
  layout.attention_output.bias = c.attention_output_bias;
  layout.gate_up.in = c.hidden_size;
  layout.gate_up.bias = c.mlp_bias;
  layout.down.in = c.intermediate_size;
  layout.down.bias = c.mlp_bias;

  const auto wide = [&](const char* name) {
    return NormLayout{name, c.hidden_size, /*bias=*/c.layer_norm};
  };
  layout.final_norm = wide(layout.final_norm.name.c_str());
  layout.attention_norm = wide("input_layernorm");
  layout.mlp_norm = wide("post_attention_layernorm");
  if (c.output_norms) {  // what is called "post attention" is then really that
    layout.attention_output_norm = wide("post_attention_layernorm");
    layout.mlp_norm = wide("pre_feedforward_layernorm");
    layout.mlp_output_norm = wide("post_feedforward_layernorm");
  }
  if (c.query_key_norm) {
    layout.query_norm = {"self_attn.q_norm", c.head_dim, false};
    layout.key_norm = {"self_attn.k_norm", c.head_dim, false};
  }
  return layout;
}

std::map<std::string, std::vector<int64_t>> WeightShapes(const ModelConfig& config) {
  const WeightLayout layout = WeightLayoutOf(config);
  std::map<std::string, std::vector<int64_t>> shapes;
  const auto add_norm = [&](const std::string& name, const NormLayout& norm) {
    shapes[name + ".weight"] = {norm.size};
    if (norm.bias) shapes[name + ".bias"] = {norm.size};
  };
  shapes[layout.embedding] = {config.vocab_size, config.hidden_size};
  if (!layout.head.empty()) shapes[layout.head] = {config.vocab_size, config.hidden_size};
  add_norm(layout.final_norm.name, layout.final_norm);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (const NormLayout* norm :
         {&layout.attention_norm, &layout.mlp_norm, &layout.attention_output_norm,
          &layout.mlp_output_norm, &layout.query_norm, &layout.key_norm}) {
      if (!norm->name.empty()) add_norm(layout.LayerName(layer, norm->name), *norm);
    }
    for (const FusedLinear* linear :
         {&layout.qkv, &layout.attention_output, &layout.gate_up, &layout.down}) {
      for (const LinearPart& part : linear->parts) {
        const std::string name = layout.LayerName(layer, part.name);
        shapes[name + ".weight"] = {part.out, linear->in};
        if (linear->bias) shapes[name + ".bias"] = {part.out};
      }
    }
  }
  return shapes;
}

at::Tensor RowsFromFiles(const FusedLinear& linear, const at::Tensor& rows) {
  if (linear.interleaved_heads == 0) return rows;
  return SwapRowGroups(rows, linear.interleaved_heads, kQueryKeyValue);
}

at::Tensor RowsToFiles(const FusedLinear& linear, const at::Tensor& rows) {
  if (linear.interleaved_heads == 0) return rows;
  return SwapRowGroups(rows, kQueryKeyValue, linear.interleaved_heads);
}

}  // namespace unlearn
