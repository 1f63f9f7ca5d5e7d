#include "offset/model/decoder.h"

#include <unistd.h>

#include <map>

#include "absl/strings/match.h"
#include "offset/base/file.h"
#include "offset/model/decoder_vectors.h"
#include "offset/model/weight_layout.h"

namespace unlearn {
namespace {

// Logits of the vectors are about 1.5 in deviation; fp32 alone differs by some 1e-6.
constexpr double kTolerance = 1e-4;

class GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, LogitsAreThoseOfTransformers) {
  const DecoderVectors vectors(GetParam());
  const at::Tensor hidden = vectors.decoder->Forward(vectors.tokens, LoraStack());
  EXPECT_LE(LargestDifference(vectors.decoder->Logits(hidden), vectors.Expected("logits")),
            kTolerance);
}

TEST_P(GoldenTest, ShorterSequencesArePrefixes) {
  const DecoderVectors vectors(GetParam());
  const at::Tensor hidden = vectors.decoder->Forward(vectors.tokens.narrow(1, 0, 11), LoraStack());
  EXPECT_LE(LargestDifference(vectors.decoder->Logits(hidden),
                              vectors.Expected("logits").narrow(1, 0, 11)),
            kTolerance);
}

TEST_P(GoldenTest, PaddingOnTheRightChangesNothingBeforeIt) {
  const DecoderVectors vectors(GetParam());
  at::Tensor padded = vectors.tokens.clone();
  padded[1].narrow(0, 20, padded.size(1) - 20).fill_(0);
  const at::Tensor logits = vectors.decoder->Logits(vectors.decoder->Forward(padded, LoraStack()));
  const at::Tensor expected = vectors.Expected("logits");
  EXPECT_LE(LargestDifference(logits[0], expected[0]), kTolerance);
  EXPECT_LE(LargestDifference(logits[1].narrow(0, 0, 20), expected[1].narrow(0, 0, 20)),
            kTolerance);
}

TEST_P(GoldenTest, NamedWeightsLoadBackAsTheSameFunction) {
  const DecoderVectors vectors(GetParam());
  const std::string folder =
      absl::StrCat(testing::TempDir(), "/decoder_", getpid(), "_", GetParam());
  ASSERT_TRUE(MakeFolders(folder).ok());
  ASSERT_TRUE(WriteFileAtomically(JoinPath(folder, "config.json"),
                                  ModelConfigToJson(vectors.decoder->config(), "float32"))
                  .ok());
  ASSERT_TRUE(WriteFileAtomically(JoinPath(folder, "model.safetensors"),
                                  SerializeTensors(vectors.decoder->NamedWeights(), at::kFloat, {}))
                  .ok());
  const auto again = Checkpoint::Open(folder);
  ASSERT_TRUE(again.ok()) << again.status();
  const auto original = Checkpoint::Open(absl::StrCat("tests/golden/decoder/", GetParam()));
  const auto decoder = Decoder::Load(**again, at::kFloat);
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  const at::Tensor now = (*decoder)->Forward(vectors.tokens, LoraStack());
  const at::Tensor before = vectors.decoder->Forward(vectors.tokens, LoraStack());
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, tensor] : vectors.decoder->NamedWeights()) {
    shapes[name] = tensor.sizes().vec();
  }
  EXPECT_EQ(shapes, WeightShapes(vectors.decoder->config()));
  if (vectors.decoder->config().norm_offset == 0) {
    EXPECT_EQ((*again)->Fingerprint(), (*original)->Fingerprint());
    EXPECT_TRUE(at::equal(now, before));
  } else {
    // One is added to norms and taken off again: the last bit of small ones is lost.
    EXPECT_LE(LargestDifference(now, before), 1e-5);
  }
  ASSERT_TRUE(ShredFolder(folder).ok());
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenTest, testing::ValuesIn(DecoderVectors::Names()),
                         [](const auto& info) { return info.param; });

class GoldenLoraTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenLoraTest, LogitsLossAndGradientsAreThoseOfPyTorch) {
  const DecoderVectors vectors(GetParam());
  LoraAdapter adapter = vectors.Adapter();
  for (auto& [name, tensor] : adapter.tensors()) tensor.set_requires_grad(true);
  const LoraAdapter* const adapters[] = {&adapter};
  const LoraStack stack = FuseAdapters(vectors.decoder->config(), adapters);
  const at::Tensor logits =
      vectors.decoder->Logits(vectors.decoder->Forward(vectors.tokens, stack));
  const at::Tensor expected = vectors.Expected("lora_logits");
  EXPECT_LE(LargestDifference(logits.detach(), expected), kTolerance);
  // The adapter is no small change, or the test would show little.
  EXPECT_GT(LargestDifference(expected, vectors.Expected("logits")), 0.5);

  const int64_t length = vectors.tokens.size(1);
  const at::Tensor loss =
      at::cross_entropy_loss(logits.narrow(1, 0, length - 1).reshape({-1, logits.size(2)}),
                             vectors.tokens.narrow(1, 1, length - 1).reshape({-1}));
  EXPECT_NEAR(loss.item<double>(), vectors.Expected("loss").item<double>(), 1e-5);
  loss.backward();
  for (const auto& [name, tensor] : adapter.tensors()) {
    const at::Tensor gradient = vectors.Expected("gradient/" + name);
    ASSERT_TRUE(tensor.grad().defined()) << name;
    const double largest = gradient.abs().max().item<double>();
    EXPECT_GT(largest, 1e-4) << name;
    EXPECT_LE(LargestDifference(tensor.grad(), gradient), 1e-4 * largest + 1e-7) << name;
  }
}

// LoRA: B's gradient is not zero at step 1 (B is zero then, so A's is), both are from step 2.
TEST_P(GoldenLoraTest, GradientsOfTheFirstTwoSteps) {
  const DecoderVectors vectors(GetParam());
  const ModelConfig& config = vectors.decoder->config();
  LoraAdapter adapter = LoraAdapter::Init(config, {4, 8}, 1);
  for (int step = 1; step <= 2; ++step) {
    for (auto& [name, tensor] : adapter.tensors()) {
      tensor = tensor.detach().clone().set_requires_grad(true);
    }
    const LoraAdapter* const adapters[] = {&adapter};
    const at::Tensor logits = vectors.decoder->Logits(
        vectors.decoder->Forward(vectors.tokens, FuseAdapters(config, adapters)));
    at::log_softmax(logits, -1).select(2, 5).mean().backward();
    for (auto& [name, tensor] : adapter.tensors()) {
      const double largest = tensor.grad().abs().max().item<double>();
      if (step == 1 && absl::StrContains(name, "lora_A")) {
        EXPECT_EQ(largest, 0) << name;
      } else {
        EXPECT_GT(largest, 1e-7) << name << " in step " << step;
      }
      tensor = tensor.detach() + tensor.grad();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenLoraTest, testing::ValuesIn(DecoderVectors::LoraNames()),
                         [](const auto& info) { return info.param; });

ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocab_size = 50;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 4;
  config.max_positions = 32;
  return config;
}

// The parts that Llama does not have: LayerNorm, biases everywhere, no gate.
ModelConfig SmallNeoX() {
  ModelConfig config = SmallConfig();
  config.model_type = "gpt_neox";
  config.weight_names = ModelConfig::WeightNames::kGptNeoX;
  config.num_kv_heads = config.num_heads;
  config.layer_norm = true;
  config.parallel_residual = true;
  config.gated_mlp = false;
  config.activation = ModelConfig::Activation::kGelu;
  config.qkv_bias = config.attention_output_bias = config.mlp_bias = true;
  config.rotary_dim = 2;
  return config;
}

TEST(DecoderTest, InitIsAFunctionOfTheSeed) {
  const at::Tensor tokens = at::arange(20, at::TensorOptions(at::kLong)).unsqueeze(0);
  const auto run = [&](uint64_t seed) {
    return Decoder::Init(SmallConfig(), seed)->Forward(tokens, LoraStack());
  };
  EXPECT_TRUE(at::equal(run(1), run(1)));
  EXPECT_GT(LargestDifference(run(1), run(2)), 0.01);
}

TEST(DecoderTest, EveryParameterGetsAGradient) {
  const std::pair<ModelConfig, size_t> cases[] = {{SmallConfig(), 3 + 2 * 6},
                                                  {SmallNeoX(), 4 + 2 * 12}};
  for (int i = 0; i < 4; ++i) {
    auto [config, count] = cases[i / 2];
    config.tie_word_embeddings = i % 2 == 1;
    const auto decoder = Decoder::Init(config, 3);
    std::vector<at::Tensor> parameters = decoder->Parameters();
    EXPECT_EQ(parameters.size(), config.tie_word_embeddings ? count - 1 : count);
    for (at::Tensor& parameter : parameters) parameter.set_requires_grad(true);
    const at::Tensor tokens = at::arange(20, at::TensorOptions(at::kLong)).unsqueeze(0);
    at::log_softmax(decoder->Logits(decoder->Forward(tokens, LoraStack())), -1)
        .select(2, 1)
        .mean()
        .backward();
    for (const at::Tensor& parameter : parameters) {
      ASSERT_TRUE(parameter.grad().defined());
      EXPECT_GT(parameter.grad().abs().max().item<double>(), 0);
    }
  }
}

class LoadTest : public testing::TestWithParam<ModelConfig> {};

TEST_P(LoadTest, NamesWhatIsMissingOrMisshapen) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/decoder_damaged_", getpid());
  ASSERT_TRUE(MakeFolders(folder).ok());
  const auto original = Decoder::Init(GetParam(), 3);
  ASSERT_TRUE(
      WriteFileAtomically(JoinPath(folder, "config.json"), ModelConfigToJson(GetParam(), "float32"))
          .ok());
  const auto load = [&](const std::map<std::string, at::Tensor>& weights) {
    EXPECT_TRUE(WriteFileAtomically(JoinPath(folder, "model.safetensors"),
                                    SerializeTensors(weights, at::kFloat, {}))
                    .ok());
    return Decoder::Load(**Checkpoint::Open(folder), at::kFloat).status();
  };
  ASSERT_TRUE(load(original->NamedWeights()).ok());
  for (const auto& [name, tensor] : original->NamedWeights()) {
    std::map<std::string, at::Tensor> weights = original->NamedWeights();
    weights.erase(name);
    absl::Status status = load(weights);
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << name;
    EXPECT_TRUE(absl::StrContains(status.message(), name)) << status;
    weights[name] = at::cat({tensor, tensor}, 0);
    status = load(weights);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_TRUE(absl::StrContains(status.message(), name)) << status;
    weights[name] = tensor.clone();
    weights[name].view(-1)[0] = NAN;
    status = load(weights);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_TRUE(absl::StrContains(status.message(), name)) << status;
  }
  ASSERT_TRUE(ShredFolder(folder).ok());
}

INSTANTIATE_TEST_SUITE_P(Kinds, LoadTest, testing::Values(SmallConfig(), SmallNeoX()),
                         [](const auto& info) { return info.param.model_type; });

TEST(DecoderTest, Bf16WeightsGiveAboutTheSame) {
  const DecoderVectors vectors("grouped_new");
  const auto checkpoint = Checkpoint::Open("tests/golden/decoder/grouped_new");
  const auto decoder = Decoder::Load(**checkpoint, at::kBFloat16);
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  EXPECT_EQ((*decoder)->layers()[0].qkv.scalar_type(), at::kBFloat16);
  const at::Tensor logits = (*decoder)->Logits((*decoder)->Forward(vectors.tokens, LoraStack()));
  EXPECT_EQ(logits.scalar_type(), at::kFloat);
  const at::Tensor difference = (logits - vectors.Expected("logits")).abs();
  EXPECT_LT(difference.mean().item<double>(), 0.05);
}

}  // namespace
}  // namespace unlearn
