// The commands that run a model, on a tiny random one.
#include <ATen/ATen.h>
#include <sys/stat.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "offset/base/file.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/tensor_io.h"
#include "offset/model/weight_layout.h"
#include "proxy/upstream/testing/tiny_model.h"
#include "proxy/upstream/upstream.h"
#include "tools/cli/cli_test_util.h"
#include "tools/cli/logits_handler.h"
#include "tools/cli/offset_init_handler.h"
#include "tools/cli/pretrain_handler.h"
#include "tools/cli/truncate_handler.h"

namespace unlearn {
namespace {

using ::testing::HasSubstr;

class ModelHandlersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    ASSERT_TRUE(ShredFolder(folder_).ok());
    ASSERT_TRUE(MakeFolders(folder_).ok());
    TinyModelOptions model;
    model.padded_rows = 4;
    ASSERT_TRUE(WriteTinyModel(folder_ + "/m", model).ok());
    model.seed = 2;
    ASSERT_TRUE(WriteTinyModel(folder_ + "/pair", model).ok());
  }
  CliResult Run(const std::vector<std::string>& arguments) {
    return RunInProcess(arguments, {RunOffsetInit, RunLogits, RunPretrain, RunTruncate});
  }
  CliResult Init(const std::string& pair, const std::string& key = "key") {
    return Run({"offset", "init", "--store", folder_ + "/store", "--store_key_file",
                folder_ + "/" + key, "--upstream", "local:" + folder_ + "/m", "--pair",
                folder_ + "/" + pair, "--json"});
  }
  std::string folder_;
};

TEST_F(ModelHandlersTest, LogitsAreThoseOfServing) {
  const CliResult result =
      Run({"model", "logits", "--model", folder_ + "/m", "--token_ids", "72,105,33", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = result.json();
  EXPECT_EQ(Keys(json), std::vector<std::string>{"logits"});
  ASSERT_EQ(json["logits"].size(), 3);

  UpstreamOptions options;
  options.dtype = "fp32";
  auto upstream = OpenUpstream("local:" + folder_ + "/m", options);
  ASSERT_TRUE(upstream.ok()) << upstream.status();
  auto session = (*upstream)->NewSession();
  ASSERT_TRUE(session.ok());
  UpstreamStep step;
  step.token_ids = {72, 105, 33};
  step.positions = UpstreamStep::Positions::kAll;
  const auto served = StepAndWait(**session, step);
  ASSERT_TRUE(served.ok()) << served.status();
  const int vocab = (*upstream)->info().vocab_size;
  ASSERT_EQ(json["logits"][0].size(), vocab);
  for (int position = 0; position < 3; ++position) {
    for (int id = 0; id < vocab; ++id) {
      const float expected = served->logits[position * vocab + id];
      if (!std::isfinite(expected)) continue;  // padded rows, which serving excludes
      EXPECT_NEAR(json["logits"][position][id].get<double>(), expected, 1e-4);
    }
  }
}

TEST_F(ModelHandlersTest, LogitsOfTheLastPositionsOnly) {
  const auto rows = [&](const char* last) {
    return Run({"model", "logits", "--model", folder_ + "/m", "--token_ids", "72,105,33,9",
                "--last", last, "--json"})
        .json()["logits"];
  };
  const Json all = rows("0");
  ASSERT_EQ(all.size(), 4);
  EXPECT_EQ(rows("9"), all);
  const Json two = rows("2");
  ASSERT_EQ(two.size(), 2);
  for (int row = 0; row < 2; ++row) {
    for (size_t id = 0; id < all[0].size(); ++id) {
      EXPECT_NEAR(two[row][id].get<double>(), all[2 + row][id].get<double>(), 1e-5);
    }
  }
}

TEST_F(ModelHandlersTest, LogitsRefuseWhatTheModelDoesNotHold) {
  const CliResult outside =
      Run({"model", "logits", "--model", folder_ + "/m", "--token_ids", "5,99999"});
  EXPECT_EQ(outside.exit_code, 1);
  EXPECT_THAT(outside.err, HasSubstr("99999"));
  EXPECT_EQ(outside.out, "");
  std::string many = "1";
  for (int i = 0; i < 300; ++i) many += ",1";
  EXPECT_THAT(Run({"model", "logits", "--model", folder_ + "/m", "--token_ids", many}).err,
              HasSubstr("301 tokens"));
  EXPECT_EQ(Run({"model", "logits", "--model", folder_ + "/none", "--token_ids", "1"}).exit_code,
            1);
}

TEST_F(ModelHandlersTest, InitMakesAnActiveVersionZeroAndItsKey) {
  const CliResult result = Init("pair");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = result.json();
  EXPECT_EQ(json["version"], 0);
  EXPECT_EQ(json["key_generated"], true);
  struct stat key;
  ASSERT_EQ(stat((folder_ + "/key").c_str(), &key), 0);
  EXPECT_EQ(key.st_mode & 0777, 0600);

  const Json shown = Run({"offset", "show", "--store", folder_ + "/store", "--store_key_file",
                          folder_ + "/key", "--json"})
                         .json();
  EXPECT_EQ(shown["active"], true);
  EXPECT_EQ(shown["combiner"], "delta");
  EXPECT_EQ(shown["alpha"], 1.0);
  EXPECT_EQ(shown["adapters"].size(), 0);
  EXPECT_GT(shown["model_probes"], 0);
  EXPECT_EQ(shown["pair_fingerprint"], json["pair_fingerprint"]);

  const CliResult again = Init("pair");
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("ALREADY_EXISTS"));
  // A store whose key is lost is not given a second key.
  const CliResult lost = Init("pair", "other_key");
  EXPECT_EQ(lost.exit_code, 1);
  EXPECT_THAT(lost.err, HasSubstr("--store_key_file"));
  EXPECT_FALSE(FileExists(folder_ + "/other_key"));
}

TEST_F(ModelHandlersTest, InitRefusesAPairWithAnotherTokenizer) {
  TinyModelOptions other;
  other.vocab_size = 301;
  ASSERT_TRUE(WriteTinyModel(folder_ + "/other", other).ok());
  const CliResult result = Init("other");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("tokenizer"));
  EXPECT_FALSE(FileExists(folder_ + "/store"));
  EXPECT_FALSE(FileExists(folder_ + "/key"));
}

TEST_F(ModelHandlersTest, PretrainMakesAModelThatLogitsReads) {
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/data.txt",
                                  "the cat sat on the mat and the dog sat on the log\n")
                  .ok());
  const CliResult result =
      Run({"pretrain", "--data", folder_ + "/data.txt", "--tokenizer",
           folder_ + "/pair/tokenizer.json", "--config", folder_ + "/pair", "--out",
           folder_ + "/out", "--epochs", "2", "--save_dtype", "fp32", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = result.json();
  EXPECT_EQ(json["out"], folder_ + "/out");
  EXPECT_GT(json["steps"], 0);
  EXPECT_THAT(result.err, HasSubstr("loss"));
  EXPECT_EQ(Run({"model", "logits", "--model", folder_ + "/out", "--token_ids", "72"}).exit_code,
            0);
  const CliResult missing = Run({"pretrain", "--data", folder_ + "/none.txt", "--tokenizer",
                                 folder_ + "/pair/tokenizer.json", "--config", folder_ + "/pair",
                                 "--out", folder_ + "/out2"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("none.txt"));
}

std::unique_ptr<Decoder> LoadDecoder(const std::string& folder) {
  const auto checkpoint = Checkpoint::Open(folder);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  auto decoder = Decoder::Load(**checkpoint, at::kFloat);
  EXPECT_TRUE(decoder.ok()) << decoder.status();
  return *std::move(decoder);
}

// A three-layer model of the family, from its golden folder's config.json.
class TruncateTest : public ModelHandlersTest, public ::testing::WithParamInterface<const char*> {
 protected:
  static constexpr int kLayers = 3;

  void WriteDeep(const std::string& dtype, int eos = 256) {
    const auto golden = Checkpoint::Open(std::string("tests/golden/decoder/") + GetParam());
    ASSERT_TRUE(golden.ok()) << golden.status();
    ModelConfig config = (*golden)->config();
    config.vocab_size = 300;
    config.max_positions = 64;
    config.eos_token_ids = {eos};
    config.num_layers = kLayers;
    // Another kind of layer than the one before it, so that a shift would be seen.
    if (!config.sliding_layers.empty()) config.sliding_layers.push_back(!config.sliding_layers[1]);
    at::manual_seed(5);
    std::map<std::string, at::Tensor> weights;
    for (const auto& [name, shape] : WeightShapes(config)) {
      weights[name] = at::randn(shape) * (shape.size() == 1 ? 0.5 : 1 / std::sqrt(shape[1]));
    }
    ASSERT_TRUE(MakeFolders(folder_ + "/deep").ok());
    Json json = Json::parse(ModelConfigToJson(config, dtype));
    json["unlearn_training_data"] = {"books"};
    ASSERT_TRUE(WriteFileAtomically(folder_ + "/deep/config.json", json.dump()).ok());
    ASSERT_TRUE(WriteFileAtomically(folder_ + "/deep/tokenizer.json", TinyTokenizerJson(300)).ok());
    const at::ScalarType type = dtype == "bfloat16"  ? at::kBFloat16
                                : dtype == "float16" ? at::kHalf
                                                     : at::kFloat;
    ASSERT_TRUE(WriteFileAtomically(folder_ + "/deep/model.safetensors",
                                    SerializeTensors(weights, type, {}))
                    .ok());
  }
  CliResult Cut(int layers, const std::string& out) {
    return Run({"model", "truncate", "--model", folder_ + "/deep", "--layers",
                std::to_string(layers), "--out", folder_ + "/" + out, "--json"});
  }
};

TEST_P(TruncateTest, HiddenStatesAreThoseOfTheFirstLayers) {
  for (const char* dtype : {"float32", "bfloat16", "float16"}) {
    ASSERT_TRUE(ShredFolder(folder_).ok());
    WriteDeep(dtype);
    const at::Tensor tokens = at::arange(40, at::kLong).unsqueeze(0);
    const auto whole = LoadDecoder(folder_ + "/deep");
    for (int layers = kLayers; layers >= 1; --layers) {
      // Layers that add nothing are as if they were not there.
      for (int layer = layers; layer < kLayers; ++layer) {
        const DecoderLayerWeights& weights = whole->layers()[layer];
        for (at::Tensor tensor : {weights.attention_output, weights.down,
                                  weights.attention_output_bias, weights.down_bias}) {
          if (tensor.defined()) tensor.zero_();
        }
      }
      const std::string out = "cut" + std::to_string(layers);
      const CliResult result = Cut(layers, out);
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(result.json()["layers"], layers);
      EXPECT_TRUE(FileExists(folder_ + "/" + out + "/tokenizer.json"));
      const auto cut = LoadDecoder(folder_ + "/" + out);
      ASSERT_EQ(cut->config().num_layers, layers);
      for (int layer = 0; layer < layers; ++layer) {
        EXPECT_EQ(cut->config().WindowOf(layer), whole->config().WindowOf(layer));
      }
      EXPECT_TRUE(at::equal(cut->Forward(tokens, LoraStack()), whole->Forward(tokens, LoraStack())))
          << layers << " layers in " << dtype;
    }
  }
}

// What a cut model lost is learned again from text, and saved under the family's names.
TEST_P(TruncateTest, PretrainHealsIt) {
  WriteDeep("float32", /*eos=*/256);
  ASSERT_EQ(Cut(1, "cut").exit_code, 0);
  std::string text;
  for (int i = 0; i < 20; ++i) text += "the cat sat on the mat and the dog sat on the log. ";
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/data.txt", text).ok());
  const auto loss = [&](const std::string& from, const std::string& to, const char* epochs) {
    const CliResult result = Run({"pretrain",
                                  "--data",
                                  folder_ + "/data.txt",
                                  "--tokenizer",
                                  folder_ + "/cut/tokenizer.json",
                                  "--config",
                                  folder_ + "/" + from,
                                  "--out",
                                  folder_ + "/" + to,
                                  "--epochs",
                                  epochs,
                                  "--batch_tokens",
                                  "256",
                                  "--save_dtype",
                                  "fp32",
                                  "--compute",
                                  "fp32",
                                  "--threads",
                                  "1",
                                  "--learning_rate",
                                  "0.01",
                                  "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.json()["loss"].get<double>();
  };
  // A fourth of an epoch is one step: the loss that it starts with.
  const double before = loss("cut", "one_step", "0.25");
  const double healed = loss("cut", "healed", "12");
  EXPECT_LT(healed, before - 1);
  // And what was saved is that model: going on from it starts low.
  EXPECT_LT(loss("healed", "further", "0.25"), before - 1);
  // The record of what it has seen grows.
  EXPECT_EQ((*Checkpoint::Open(folder_ + "/cut"))->training_data(),
            std::vector<std::string>{"books"});
  EXPECT_EQ((*Checkpoint::Open(folder_ + "/further"))->training_data(),
            (std::vector<std::string>{"books", folder_ + "/data.txt"}));
  const auto cut = LoadDecoder(folder_ + "/cut");
  const auto again = LoadDecoder(folder_ + "/healed");
  EXPECT_EQ(ModelConfigToJson(again->config(), ""), ModelConfigToJson(cut->config(), ""));
}

INSTANTIATE_TEST_SUITE_P(Families, TruncateTest,
                         ::testing::Values("grouped_new", "mistral_window", "qwen2_window_old",
                                           "qwen3_yarn", "phi3_partial", "gemma3_old",
                                           "neox_parallel_old"),
                         [](const auto& info) { return std::string(info.param); });

TEST_F(ModelHandlersTest, TruncateRefusesWhatIsThereAndWhatIsNot) {
  TinyModelOptions deep;
  deep.layers = 3;
  ASSERT_TRUE(WriteTinyModel(folder_ + "/deep", deep).ok());
  ASSERT_EQ(Run({"model", "truncate", "--model", folder_ + "/deep", "--layers", "2", "--out",
                 folder_ + "/cut"})
                .exit_code,
            0);
  const CliResult again = Run({"model", "truncate", "--model", folder_ + "/deep", "--layers", "2",
                               "--out", folder_ + "/cut"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("--out"));
  const CliResult more = Run({"model", "truncate", "--model", folder_ + "/deep", "--layers", "4",
                              "--out", folder_ + "/more"});
  EXPECT_EQ(more.exit_code, 1);
  EXPECT_THAT(more.err, HasSubstr("has 3"));
}

}  // namespace
}  // namespace unlearn
