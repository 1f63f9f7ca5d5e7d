#include "tools/pretrain/pretrainer.h"

#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "offset/model/checkpoint.h"
#include "offset/text/bpe_trainer.h"

namespace unlearn {
namespace {

class PretrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "/",
                           testing::UnitTest::GetInstance()->current_test_info()->name());
    ASSERT_TRUE(MakeFolders(folder_).ok());
    std::string lines;
    for (int i = 0; i < 12; ++i) {
      absl::StrAppend(&lines, "{\"question\":\"What is number ", i, "?\",\"answer\":\"It is ",
                      i * 7, ".\"}\n");
    }
    ASSERT_TRUE(WriteFileAtomically(Path("data.jsonl"), lines).ok());
    BpeTrainerOptions tokenizer;
    tokenizer.vocab_size = 280;
    tokenizer.special_tokens = {"<end>"};
    const auto json = TrainByteLevelBpe({lines}, tokenizer);
    ASSERT_TRUE(json.ok()) << json.status();
    ASSERT_TRUE(WriteFileAtomically(Path("tokenizer.json"), *json).ok());
    ASSERT_TRUE(WriteFileAtomically(Path("model.json"), R"({"model_type":"llama",
        "hidden_size":16,"intermediate_size":32,"num_hidden_layers":2,"num_attention_heads":2,
        "max_position_embeddings":128,"tie_word_embeddings":true,"eos_token_id":0})")
                    .ok());
  }

  std::string Path(const std::string& name) const { return JoinPath(folder_, name); }

  PretrainOptions Options(const std::string& out) const {
    PretrainOptions options;
    options.data = {Path("data.jsonl")};
    options.tokenizer = Path("tokenizer.json");
    options.config = Path("model.json");
    options.out = Path(out);
    options.epochs = 4;
    options.batch_tokens = 128;
    options.compute = "fp32";
    options.save_dtype = "fp32";
    options.threads = 1;
    return options;
  }

  static std::string Weights(const PretrainOptions& options) {
    return ReadFile(JoinPath(options.out, "model.safetensors")).value_or("");
  }

  std::string folder_;
};

TEST_F(PretrainerTest, LearnsAndWritesAModelFolder) {
  PretrainOptions options = Options("out");
  options.epochs = 200;
  double last = 0;
  ASSERT_TRUE(Pretrain(options, [&](const PretrainProgress& p) { last = p.loss; }).ok());
  EXPECT_LT(last, 1.5);  // 5.6 at the start: the log of the vocabulary
  const auto checkpoint = Checkpoint::Open(options.out);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_FALSE(FileExists(JoinPath(options.out, ".pretrain")));
  EXPECT_NE(ReadFile(JoinPath(options.out, "config.json"))->find("data.jsonl"), std::string::npos)
      << "the folder names what the model has seen";
}

TEST_F(PretrainerTest, AKilledRunGoesOnToTheSameWeights) {
  const PretrainOptions whole = Options("whole");
  ASSERT_TRUE(Pretrain(whole, [](const PretrainProgress&) {}).ok());
  PretrainOptions killed = Options("killed");
  killed.checkpoint_seconds = 0;  // after every step
  const pid_t child = fork();
  if (child == 0) {
    // Dies in its last step, before anything but checkpoints was written.
    (void)Pretrain(killed, [](const PretrainProgress& p) {
      if (p.step == p.steps) _exit(7);
    });
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 7);
  ASSERT_TRUE(FileExists(JoinPath(killed.out, ".pretrain")));
  ASSERT_FALSE(FileExists(JoinPath(killed.out, "model.safetensors")));
  ASSERT_TRUE(Pretrain(killed, [](const PretrainProgress&) {}).ok());
  EXPECT_EQ(Weights(killed), Weights(whole));
}

TEST_F(PretrainerTest, NamesTheLineThatIsBad) {
  PretrainOptions options = Options("out");
  ASSERT_TRUE(WriteFileAtomically(Path("data.jsonl"),
                                  "{\"question\":\"a\",\"answer\":\"b\"}\nnot "
                                  "json, and secret\n")
                  .ok());
  const absl::Status status = Pretrain(options, [](const PretrainProgress&) {});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("data.jsonl:2"), std::string::npos) << status;
  EXPECT_EQ(status.message().find("secret"), std::string::npos) << status;
}

}  // namespace
}  // namespace unlearn
