#include "offset/model/model_config.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace unlearn {
namespace {

using Json = nlohmann::json;

Json Small() {
  return {{"model_type", "llama"},         {"vocab_size", 100},      {"hidden_size", 32},
          {"intermediate_size", 64},       {"num_hidden_layers", 3}, {"num_attention_heads", 4},
          {"num_key_value_heads", 2},      {"rms_norm_eps", 1e-5},   {"hidden_act", "silu"},
          {"tie_word_embeddings", true},   {"bos_token_id", 1},      {"eos_token_id", {2, 3}},
          {"max_position_embeddings", 512}};
}

absl::StatusOr<ModelConfig> Parse(const Json& json) {
  return ParseModelConfig(json.dump(), "folder/config.json");
}

// The error must name the file and the field.
void ExpectRefused(const Json& json, absl::StatusCode code, const std::string& field) {
  const absl::Status status = Parse(json).status();
  EXPECT_EQ(status.code(), code) << field << ": " << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "folder/config.json: $." + field)) << status;
}

Json With(const std::string& field, const Json& value) {
  Json json = Small();
  json[field] = value;
  return json;
}

TEST(ModelConfigTest, ReadsEveryField) {
  const auto config = Parse(Small());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->vocab_size, 100);
  EXPECT_EQ(config->hidden_size, 32);
  EXPECT_EQ(config->intermediate_size, 64);
  EXPECT_EQ(config->num_layers, 3);
  EXPECT_EQ(config->num_heads, 4);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->head_dim, 8);
  EXPECT_EQ(config->qkv_size(), 64);
  EXPECT_EQ(config->max_positions, 512);
  EXPECT_DOUBLE_EQ(config->norm_eps, 1e-5);
  EXPECT_DOUBLE_EQ(config->rope_theta, 10000);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_EQ(config->bos_token_ids, std::vector<int32_t>{1});
  EXPECT_EQ(config->eos_token_ids, (std::vector<int32_t>{2, 3}));
}

TEST(ModelConfigTest, AbsentAndNullFieldsTakeTheDefaults) {
  Json json = Small();
  for (const char* field : {"num_key_value_heads", "rms_norm_eps", "tie_word_embeddings",
                            "max_position_embeddings", "bos_token_id", "eos_token_id"}) {
    json.erase(field);
  }
  const auto absent = Parse(json);
  ASSERT_TRUE(absent.ok()) << absent.status();
  EXPECT_EQ(absent->num_kv_heads, 4);
  EXPECT_DOUBLE_EQ(absent->norm_eps, 1e-6);
  EXPECT_FALSE(absent->tie_word_embeddings);
  EXPECT_EQ(absent->max_positions, 2048);
  EXPECT_TRUE(absent->bos_token_ids.empty());
  EXPECT_TRUE(absent->eos_token_ids.empty());
  for (const char* field : {"num_key_value_heads", "head_dim", "rope_scaling", "rope_parameters",
                            "bos_token_id", "pretraining_tp", "some_future_field"}) {
    json[field] = nullptr;
  }
  const auto null = Parse(json);
  ASSERT_TRUE(null.ok()) << null.status();
  EXPECT_EQ(ModelConfigToJson(*null, ""), ModelConfigToJson(*absent, ""));
}

TEST(ModelConfigTest, ExplicitHeadDimNeedNotDivideTheHiddenSize) {
  EXPECT_EQ(Parse(With("head_dim", 20))->qkv_size(), 160);
}

TEST(ModelConfigTest, Llama3RopeInBothSpellings) {
  const Json scaling = {{"rope_type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192}};
  Json older = With("rope_scaling", scaling);
  older["rope_theta"] = 500000.0;
  Json newer = With("rope_parameters", scaling);
  newer["rope_parameters"]["rope_theta"] = 500000.0;
  for (const Json& json : {older, newer}) {
    const auto config = Parse(json);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->rope_scaling.kind, RopeScaling::Kind::kLlama3);
    EXPECT_DOUBLE_EQ(config->rope_theta, 500000);
    EXPECT_DOUBLE_EQ(config->rope_scaling.factor, 8);
    EXPECT_DOUBLE_EQ(config->rope_scaling.low_freq_factor, 1);
    EXPECT_DOUBLE_EQ(config->rope_scaling.high_freq_factor, 4);
    EXPECT_EQ(config->rope_scaling.original_max_position_embeddings, 8192);
  }
}

TEST(ModelConfigTest, LinearAndDefaultRope) {
  const auto linear = Parse(With("rope_scaling", {{"type", "linear"}, {"factor", 2.0}}));
  ASSERT_TRUE(linear.ok()) << linear.status();
  EXPECT_EQ(linear->rope_scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_DOUBLE_EQ(linear->rope_scaling.factor, 2);
  const auto plain =
      Parse(With("rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5000.0}}));
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->rope_scaling.kind, RopeScaling::Kind::kDefault);
  EXPECT_DOUBLE_EQ(plain->rope_theta, 5000);
}

TEST(ModelConfigTest, WrittenConfigReadsBackTheSame) {
  Json json = With("rope_scaling", {{"rope_type", "llama3"},
                                    {"factor", 8.5},
                                    {"low_freq_factor", 1.25},
                                    {"high_freq_factor", 4.75},
                                    {"original_max_position_embeddings", 64}});
  json["head_dim"] = 14;
  json["rope_theta"] = 12345.5;
  const ModelConfig llama3 = *Parse(json);
  const ModelConfig linear = *Parse(With("rope_scaling", {{"type", "linear"}, {"factor", 3.5}}));
  for (const ModelConfig& config :
       {llama3, linear, *Parse(With("eos_token_id", 7)), *Parse(Small())}) {
    const std::string text = ModelConfigToJson(config, "float32");
    const auto again = ParseModelConfig(text, "again");
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(ModelConfigToJson(*again, "float32"), text);
    EXPECT_EQ(again->head_dim, config.head_dim);
    EXPECT_EQ(again->eos_token_ids, config.eos_token_ids);
    EXPECT_EQ(again->rope_theta, config.rope_theta);
    EXPECT_EQ(again->rope_scaling.kind, config.rope_scaling.kind);
    EXPECT_EQ(again->rope_scaling.factor, config.rope_scaling.factor);
    EXPECT_EQ(again->rope_scaling.low_freq_factor, config.rope_scaling.low_freq_factor);
    EXPECT_EQ(again->rope_scaling.high_freq_factor, config.rope_scaling.high_freq_factor);
    EXPECT_EQ(again->rope_scaling.original_max_position_embeddings,
              config.rope_scaling.original_max_position_embeddings);
  }
}

TEST(ModelConfigTest, WindowsAsTransformersReadsThem) {
  // mistral: an absent field is 4096, null is none; every layer has it.
  const auto absent = Parse(With("model_type", "mistral"));
  ASSERT_TRUE(absent.ok()) << absent.status();
  EXPECT_EQ(absent->WindowOf(0), 4096);
  Json mistral = With("model_type", "mistral");
  mistral["sliding_window"] = nullptr;
  EXPECT_EQ(Parse(mistral)->WindowOf(0), 0);
  mistral["sliding_window"] = 9;
  EXPECT_EQ(Parse(mistral)->WindowOf(0), 9);
  // qwen: only where use_sliding_window says so, and only from max_window_layers on.
  Json qwen = With("model_type", "qwen2");
  qwen["sliding_window"] = 9;
  qwen["max_window_layers"] = 1;
  EXPECT_EQ(Parse(qwen)->WindowOf(1), 0);
  qwen["use_sliding_window"] = true;
  EXPECT_EQ(Parse(qwen)->WindowOf(0), 0);
  EXPECT_EQ(Parse(qwen)->WindowOf(1), 9);
  qwen["layer_types"] = {"sliding_attention", "full_attention", "full_attention"};
  EXPECT_EQ(Parse(qwen)->WindowOf(0), 9);
  EXPECT_EQ(Parse(qwen)->WindowOf(1), 0);
  qwen["layer_types"] = {"sliding_attention", "chunked_attention", "full_attention"};
  ExpectRefused(qwen, absl::StatusCode::kInvalidArgument, "layer_types[1]");
  qwen["layer_types"] = {"full_attention"};
  ExpectRefused(qwen, absl::StatusCode::kInvalidArgument, "layer_types");
}

TEST(ModelConfigTest, FamiliesDifferInWhatIsAlwaysThere) {
  EXPECT_FALSE(Parse(Small())->qkv_bias);
  EXPECT_TRUE(Parse(With("model_type", "qwen2"))->qkv_bias);
  EXPECT_FALSE(Parse(With("model_type", "qwen2"))->attention_output_bias);
  EXPECT_TRUE(Parse(With("attention_bias", true))->attention_output_bias);
  EXPECT_TRUE(Parse(With("model_type", "qwen3"))->query_key_norm);
  EXPECT_EQ(Parse(With("model_type", "phi3"))->weight_names, ModelConfig::WeightNames::kPhi3);
  EXPECT_FALSE(Parse(Small())->mlp_bias);
  EXPECT_TRUE(Parse(With("mlp_bias", true))->mlp_bias);
  for (const char* type : {"llama", "mistral", "qwen2", "qwen3", "phi3", "gemma3_text"}) {
    Json json = With("model_type", type);
    if (std::string(type) == "gemma3_text") json.erase("hidden_act");
    const auto parsed = Parse(json);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    const ModelConfig& config = *parsed;
    const auto again = ParseModelConfig(ModelConfigToJson(config, "float32"), "again");
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(ModelConfigToJson(*again, "float32"), ModelConfigToJson(config, "float32"));
    EXPECT_EQ(again->model_type, type);
  }
}

// As the Pythia folders have it.
Json Pythia() {
  return {{"architectures", {"GPTNeoXForCausalLM"}},
          {"bos_token_id", 0},
          {"eos_token_id", 0},
          {"classifier_dropout", 0.1},
          {"hidden_act", "gelu"},
          {"hidden_size", 32},
          {"initializer_range", 0.02},
          {"intermediate_size", 128},
          {"layer_norm_eps", 1e-05},
          {"max_position_embeddings", 2048},
          {"model_type", "gpt_neox"},
          {"num_attention_heads", 2},
          {"num_hidden_layers", 3},
          {"rotary_emb_base", 10000},
          {"rotary_pct", 0.25},
          {"tie_word_embeddings", false},
          {"torch_dtype", "float16"},
          {"transformers_version", "4.24.0"},
          {"use_cache", true},
          {"use_parallel_residual", true},
          {"vocab_size", 100}};
}

TEST(ModelConfigTest, GptNeoX) {
  const auto config = Parse(Pythia());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->layer_norm);
  EXPECT_TRUE(config->parallel_residual);
  EXPECT_FALSE(config->gated_mlp);
  EXPECT_EQ(config->activation, ModelConfig::Activation::kGelu);
  EXPECT_EQ(config->gate_up_size(), 128);
  EXPECT_TRUE(config->qkv_bias);
  EXPECT_TRUE(config->attention_output_bias);
  EXPECT_TRUE(config->mlp_bias);
  EXPECT_DOUBLE_EQ(config->norm_eps, 1e-5);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->rotary_size(), 4);

  // What transformers takes where the fields are absent, in either spelling.
  Json bare = Pythia();
  for (const char* field :
       {"rotary_pct", "rotary_emb_base", "use_parallel_residual", "hidden_act", "layer_norm_eps"}) {
    bare.erase(field);
  }
  EXPECT_EQ(ModelConfigToJson(*Parse(bare), ""), ModelConfigToJson(*config, ""));
  bare["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500.0}};
  EXPECT_EQ(Parse(bare)->rotary_size(), 4);
  EXPECT_DOUBLE_EQ(Parse(bare)->rope_theta, 500);
  bare["rope_parameters"]["partial_rotary_factor"] = 1.0;
  EXPECT_EQ(Parse(bare)->rotary_size(), 16);

  struct Case {
    const char* field;
    Json value;
  };
  for (const Case& one : {Case{"rotary_pct", 0.5}, Case{"rotary_pct", 1.0},
                          Case{"rotary_emb_base", 500}, Case{"use_parallel_residual", false},
                          Case{"attention_bias", false}, Case{"hidden_act", "gelu_new"},
                          Case{"hidden_act", "swish"}, Case{"tie_word_embeddings", true}}) {
    Json json = Pythia();
    json[one.field] = one.value;
    const auto changed = Parse(json);
    ASSERT_TRUE(changed.ok()) << changed.status();
    const std::string text = ModelConfigToJson(*changed, "");
    EXPECT_NE(text, ModelConfigToJson(*config, "")) << one.field;
    const auto again = ParseModelConfig(text, "again");
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(ModelConfigToJson(*again, ""), text) << one.field;
    EXPECT_EQ(again->rotary_size(), changed->rotary_size());
    EXPECT_EQ(again->activation, changed->activation);
  }
  for (const Case& one :
       {Case{"hidden_act", "relu"}, Case{"num_key_value_heads", 1}, Case{"head_dim", 8},
        Case{"rope_theta", 5000.0}, Case{"rms_norm_eps", 1e-6}, Case{"mlp_bias", false}}) {
    Json json = Pythia();
    json[one.field] = one.value;
    ExpectRefused(json, absl::StatusCode::kUnimplemented, one.field);
  }
  Json odd = Pythia();
  odd["rotary_pct"] = 0.2;
  ExpectRefused(odd, absl::StatusCode::kInvalidArgument, "rotary_pct");
  odd = Pythia();
  odd["num_attention_heads"] = 3;
  odd["hidden_size"] = 32;
  ExpectRefused(odd, absl::StatusCode::kInvalidArgument, "num_attention_heads");
}

TEST(ModelConfigTest, EveryRotaryShareReadsBackTheSame) {
  for (int64_t head_dim = 2; head_dim <= 256; head_dim += 2) {
    for (int64_t rotary = 2; rotary <= head_dim; rotary += 2) {
      ModelConfig config = *Parse(Pythia());
      config.num_heads = config.num_kv_heads = 1;
      config.hidden_size = config.head_dim = head_dim;
      config.rotary_dim = rotary;
      const auto again = ParseModelConfig(ModelConfigToJson(config, ""), "again");
      ASSERT_TRUE(again.ok()) << again.status();
      ASSERT_EQ(again->rotary_size(), rotary) << "of " << head_dim;
    }
  }
}

TEST(ModelConfigTest, RefusesWhatChangesTheResultByName) {
  constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;
  ExpectRefused(With("model_type", "mamba"), kUnimplemented, "model_type");
  ExpectRefused(With("hidden_act", "gelu"), kUnimplemented, "hidden_act");
  Json biased = With("model_type", "mistral");
  biased["attention_bias"] = true;  // mistral has none
  ExpectRefused(biased, kUnimplemented, "attention_bias");
  biased.erase("attention_bias");
  biased["mlp_bias"] = true;
  ExpectRefused(biased, kUnimplemented, "mlp_bias");
  ExpectRefused(With("pretraining_tp", 2), kUnimplemented, "pretraining_tp");
  ExpectRefused(With("sliding_window", 4096), kUnimplemented, "sliding_window");
  ExpectRefused(With("final_logit_softcapping", 30.0), kUnimplemented, "final_logit_softcapping");
  ExpectRefused(With("quantization_config", Json::object()), kUnimplemented, "quantization_config");
  ExpectRefused(With("rope_scaling", {{"rope_type", "longrope"}, {"factor", 4.0}}), kUnimplemented,
                "rope_scaling.rope_type");
  ExpectRefused(With("rope_parameters", {{"rope_type", "dynamic"}, {"factor", 4.0}}),
                kUnimplemented, "rope_parameters.rope_type");
  ExpectRefused(With("rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}),
                kUnimplemented, "rope_parameters.partial_rotary_factor");
  ExpectRefused(
      With("rope_scaling", {{"type", "linear"}, {"factor", 2.0}, {"low_freq_factor", 1.0}}),
      kUnimplemented, "rope_scaling.low_freq_factor");
}

TEST(ModelConfigTest, RefusesWrongTypesAndRangesByName) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  for (const char* field : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads"}) {
    Json missing = Small();
    missing.erase(field);
    ExpectRefused(missing, kInvalid, field);
    for (const Json& bad : {Json("12"), Json(1.5), Json(0), Json(-4), Json(true), Json::array(),
                            Json(uint64_t{18446744073709551615u}), Json(int64_t{1} << 40)}) {
      ExpectRefused(With(field, bad), kInvalid, field);
    }
  }
  Json missing = Small();
  missing.erase("model_type");
  ExpectRefused(missing, kInvalid, "model_type");
  ExpectRefused(With("num_key_value_heads", 3), kInvalid, "num_key_value_heads");
  ExpectRefused(With("head_dim", 7), kInvalid, "head_dim");
  ExpectRefused(With("hidden_size", 3), kInvalid, "num_attention_heads");  // 0 for each head
  ExpectRefused(With("head_dim", "8"), kInvalid, "head_dim");
  ExpectRefused(With("rms_norm_eps", 0), kInvalid, "rms_norm_eps");
  ExpectRefused(With("rms_norm_eps", "small"), kInvalid, "rms_norm_eps");
  ExpectRefused(With("rope_theta", -1.0), kInvalid, "rope_theta");
  ExpectRefused(With("tie_word_embeddings", 1), kInvalid, "tie_word_embeddings");
  ExpectRefused(With("eos_token_id", 100), kInvalid, "eos_token_id");
  ExpectRefused(With("eos_token_id", -1), kInvalid, "eos_token_id");
  ExpectRefused(With("eos_token_id", {2, "3"}), kInvalid, "eos_token_id");
  ExpectRefused(With("rope_scaling", "linear"), kInvalid, "rope_scaling");
  ExpectRefused(With("rope_parameters", {{"rope_type", 3}}), kInvalid, "rope_parameters.rope_type");
  ExpectRefused(With("rope_scaling", {{"type", "linear"}}), kInvalid, "rope_scaling.factor");
  ExpectRefused(With("rope_scaling", {{"type", "linear"}, {"factor", 0}}), kInvalid,
                "rope_scaling.factor");
  Json llama3 = With("rope_scaling", {{"rope_type", "llama3"},
                                      {"factor", 8.0},
                                      {"low_freq_factor", 4.0},
                                      {"high_freq_factor", 4.0},
                                      {"original_max_position_embeddings", 8192}});
  ExpectRefused(llama3, kInvalid, "rope_scaling.high_freq_factor");
  llama3["rope_scaling"].erase("original_max_position_embeddings");
  ExpectRefused(llama3, kInvalid, "rope_scaling.original_max_position_embeddings");
}

TEST(ModelConfigTest, HeadsOfNoSizeAreRefused) {
  Json json = With("num_attention_heads", 64);  // of a hidden size of 32
  ExpectRefused(json, absl::StatusCode::kInvalidArgument, "num_attention_heads");
  json["head_dim"] = 8;
  EXPECT_TRUE(Parse(json).ok()) << Parse(json).status();
}

TEST(ModelConfigTest, RefusesNumbersThatNothingFiniteComesOf) {
  const absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
  ExpectRefused(With("rms_norm_eps", 1e-300), kInvalid, "rms_norm_eps");
  ExpectRefused(With("rope_theta", 1e300), kInvalid, "rope_theta");
  for (const double positions : {1e-3, 1e25, 1e300}) {
    ExpectRefused(With("rope_scaling", {{"rope_type", "llama3"},
                                        {"factor", 8},
                                        {"low_freq_factor", 1},
                                        {"high_freq_factor", 4},
                                        {"original_max_position_embeddings", positions}}),
                  kInvalid, "rope_scaling.original_max_position_embeddings");
    ExpectRefused(With("rope_parameters",
                       {{"rope_type", "yarn"}, {"original_max_position_embeddings", positions}}),
                  kInvalid, "rope_parameters.original_max_position_embeddings");
  }
  ExpectRefused(With("rope_parameters", {{"rope_type", "yarn"}, {"rope_theta", 1}}), kInvalid,
                "rope_parameters.rope_theta");
  Json share = With("model_type", "phi3");
  for (const double value : {1.5, 1e25, 1e-3}) {
    share["partial_rotary_factor"] = value;
    ExpectRefused(share, kInvalid, "partial_rotary_factor");
  }
}

// Dividing and multiplying again may miss the whole number or the scalar by one rounding.
TEST(ModelConfigTest, RoundingDoesNotChangeWhatIsWritten) {
  Json phi3 = With("model_type", "phi3");
  for (int head_dim = 2; head_dim <= 256; head_dim += 2) {
    phi3["head_dim"] = head_dim;
    for (int rotary_dim = 2; rotary_dim < head_dim; rotary_dim += 2) {
      phi3["partial_rotary_factor"] = (rotary_dim + 0.5) / head_dim;
      const auto config = Parse(phi3);
      ASSERT_TRUE(config.ok()) << config.status();
      const auto again = ParseModelConfig(ModelConfigToJson(*config, "float32"), "written");
      ASSERT_TRUE(again.ok()) << again.status();
      ASSERT_EQ(again->rotary_dim, rotary_dim) << head_dim;
    }
  }
  Json gemma = With("model_type", "gemma3_text");
  gemma.erase("hidden_act");
  for (int scalar = 1; scalar <= 1000; ++scalar) {
    gemma["query_pre_attn_scalar"] = scalar / 3.0;
    const auto config = Parse(gemma);
    ASSERT_TRUE(config.ok()) << config.status();
    const auto again = ParseModelConfig(ModelConfigToJson(*config, "float32"), "written");
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(again->attention_scale, config->attention_scale) << scalar;
  }
}

// The error about such a field used to print it, and ran out of stack.
TEST(ModelConfigTest, RefusesDeepNesting) {
  const std::string brackets = std::string(50000, '[') + std::string(50000, ']');
  for (const char* field : {"model_type", "eos_token_id", "not_known"}) {
    Json json = Small();
    json.erase(field);
    std::string text = json.dump();
    text.insert(1, absl::StrCat("\"", field, "\":", brackets, ","));
    const absl::Status status = ParseModelConfig(text, "folder/config.json").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(status.message(), "folder/config.json: holds more than"))
        << status;
  }
}

TEST(ModelConfigTest, BothSpellingsAtOnceAreRefused) {
  Json json = With("rope_scaling", {{"type", "linear"}, {"factor", 2.0}});
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 10000.0}};
  ExpectRefused(json, absl::StatusCode::kInvalidArgument, "rope_parameters");
}

TEST(ModelConfigTest, RefusesWhatIsNoJsonObject) {
  for (const char* text : {"", "{", "[]", "null", "\"llama\"", "{\"vocab_size\": 1,}"}) {
    const absl::Status status = ParseModelConfig(text, "folder/config.json").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_TRUE(absl::StrContains(status.message(), "folder/config.json")) << status;
  }
}

}  // namespace
}  // namespace unlearn
