// The commands that run a model, on a tiny random one.
#include <sys/stat.h>

#include <cmath>
#include <string>

#include "gmock/gmock.h"
#include "offset/base/file.h"
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

TEST_F(ModelHandlersTest, TruncatedItIsTheFirstLayersUnderTheSameNormAndHead) {
  TinyModelOptions deep;
  deep.layers = 3;
  ASSERT_TRUE(WriteTinyModel(folder_ + "/deep", deep).ok());
  const CliResult result = Run({"model", "truncate", "--model", folder_ + "/deep", "--layers", "2",
                                "--out", folder_ + "/cut", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.json()["layers"], 2);
  EXPECT_TRUE(FileExists(folder_ + "/cut/tokenizer.json"));
  const auto logits = [&](const std::string& model) {
    return Run({"model", "logits", "--model", model, "--token_ids", "72,105,33", "--json"}).json();
  };
  const Json cut = logits(folder_ + "/cut");
  ASSERT_EQ(cut["logits"].size(), 3);
  EXPECT_NE(cut, logits(folder_ + "/deep"));
  // All layers kept, the function is the same.
  ASSERT_EQ(Run({"model", "truncate", "--model", folder_ + "/deep", "--layers", "3", "--out",
                 folder_ + "/whole"})
                .exit_code,
            0);
  EXPECT_EQ(logits(folder_ + "/whole"), logits(folder_ + "/deep"));

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
