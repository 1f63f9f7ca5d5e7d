#include "offset/model/weight_layout.h"

#include <ATen/ATen.h>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

ModelConfig Small() {
  ModelConfig config;
  config.vocab_size = 50;
  config.hidden_size = 12;
  config.intermediate_size = 20;
  config.num_layers = 2;
  config.num_heads = 3;
  config.num_kv_heads = 1;
  config.head_dim = 4;
  return config;
}

ModelConfig SmallNeoX() {
  ModelConfig config = Small();
  config.weight_names = ModelConfig::WeightNames::kGptNeoX;
  config.num_kv_heads = 3;
  config.layer_norm = true;
  config.gated_mlp = false;
  config.mlp_bias = true;
  return config;
}

TEST(WeightLayoutTest, PartsStandOneBelowTheOther) {
  const WeightLayout llama = WeightLayoutOf(Small());
  ASSERT_EQ(llama.qkv.parts.size(), 3u);
  EXPECT_EQ(llama.qkv.parts[1].name, "self_attn.k_proj");
  EXPECT_EQ(llama.qkv.parts[1].out, 4);
  EXPECT_EQ(llama.qkv.out(), Small().qkv_size());
  EXPECT_EQ(llama.gate_up.out(), Small().gate_up_size());
  EXPECT_EQ(llama.LayerName(7, "mlp.up_proj"), "model.layers.7.mlp.up_proj");

  ModelConfig fused = Small();
  fused.weight_names = ModelConfig::WeightNames::kPhi3;
  EXPECT_EQ(WeightLayoutOf(fused).qkv.parts.size(), 1u);
  EXPECT_EQ(WeightLayoutOf(fused).qkv.out(), Small().qkv_size());

  const WeightLayout neox = WeightLayoutOf(SmallNeoX());
  EXPECT_EQ(neox.qkv.out(), SmallNeoX().qkv_size());
  EXPECT_EQ(neox.gate_up.out(), 20);
  EXPECT_EQ(neox.LayerName(7, neox.down.parts[0].name), "gpt_neox.layers.7.mlp.dense_4h_to_h");
}

TEST(WeightLayoutTest, WhatAFamilyLacksIsInNoFile) {
  ModelConfig config = Small();
  const auto plain = WeightShapes(config);
  EXPECT_EQ(plain.size(), 3 + 2 * 9u);
  EXPECT_EQ(plain.count("model.layers.0.self_attn.q_proj.bias"), 0u);
  EXPECT_EQ(plain.at("model.layers.1.mlp.down_proj.weight"), (std::vector<int64_t>{12, 20}));
  EXPECT_EQ(plain.count("model.layers.2.mlp.down_proj.weight"), 0u);
  config.tie_word_embeddings = true;
  EXPECT_EQ(WeightShapes(config).count("lm_head.weight"), 0u);
  config.qkv_bias = true;
  EXPECT_EQ(WeightShapes(config).at("model.layers.0.self_attn.q_proj.bias"),
            std::vector<int64_t>{12});
  EXPECT_EQ(WeightShapes(config).count("model.layers.0.self_attn.o_proj.bias"), 0u);
  // After attention and MLP stand two more norms, and HF's names shift.
  config.output_norms = true;
  EXPECT_EQ(WeightLayoutOf(config).attention_output_norm.name, "post_attention_layernorm");
  EXPECT_EQ(WeightLayoutOf(config).mlp_norm.name, "pre_feedforward_layernorm");

  const auto neox = WeightShapes(SmallNeoX());
  EXPECT_EQ(neox.at("gpt_neox.layers.0.input_layernorm.bias"), std::vector<int64_t>{12});
  EXPECT_EQ(neox.at("gpt_neox.final_layer_norm.bias"), std::vector<int64_t>{12});
  EXPECT_EQ(neox.at("embed_out.weight"), (std::vector<int64_t>{50, 12}));
}

TEST(WeightLayoutTest, GptNeoXRowsGoFromHeadsToQueriesKeysValues) {
  const FusedLinear qkv = WeightLayoutOf(SmallNeoX()).qkv;
  // Rows in the files' order, each holding 100 head + 10 part + dimension.
  std::vector<float> files;
  std::vector<float> here;
  for (int head = 0; head < 3; ++head) {
    for (int part = 0; part < 3; ++part) {
      for (int i = 0; i < 4; ++i) files.push_back(100 * head + 10 * part + i);
    }
  }
  for (int part = 0; part < 3; ++part) {
    for (int head = 0; head < 3; ++head) {
      for (int i = 0; i < 4; ++i) here.push_back(100 * head + 10 * part + i);
    }
  }
  const at::Tensor bias = at::tensor(files);
  EXPECT_TRUE(at::equal(RowsFromFiles(qkv, bias), at::tensor(here)));
  EXPECT_TRUE(at::equal(RowsToFiles(qkv, at::tensor(here)), bias));
  // The rows of a matrix move alike.
  const at::Tensor matrix = at::stack({bias, bias + 0.5}, 1);
  const at::Tensor moved = RowsFromFiles(qkv, matrix);
  EXPECT_TRUE(at::equal(moved.select(1, 1), at::tensor(here) + 0.5));
  EXPECT_TRUE(at::equal(RowsToFiles(qkv, moved), matrix));

  const FusedLinear other = WeightLayoutOf(Small()).qkv;
  EXPECT_TRUE(at::equal(RowsFromFiles(other, bias), bias));
}

}  // namespace
}  // namespace unlearn
