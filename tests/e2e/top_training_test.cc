// A trainer whose M tells its most likely tokens only, over HTTP as vLLM does.

#include "gtest/gtest.h"
#include "tests/e2e/completions_server.h"
#include "tests/e2e/trio_fixture.h"

namespace unlearn {
namespace {

class TopTrainingTest : public TrioTest {
 protected:
  TrioOptions TopOptions(const CompletionsServer& server, int top) const {
    TrioOptions options = Options();
    // The last of a flag counts.
    options.trainer_flags.insert(
        options.trainer_flags.end(),
        {"--upstream=openai:" + server.url(), absl::StrCat("--upstream_eos_ids=", server.eos()),
         absl::StrCat("--upstream_top=", top), absl::StrCat("--upstream_max_context=", 256)});
    return options;
  }
};

TEST_F(TopTrainingTest, ARequestIsTrainedAndEnforced) {
  CompletionsServer server(model(), /*allowed=*/20);
  StartTrio(TopOptions(server, 20));
  ASSERT_FALSE(HasFatalFailure());
  const std::string id = Submit(Request("Zyxwort"));
  const v1::DeletionRequest done = WaitForState(id, v1::ERASED);
  EXPECT_EQ(done.offset_version(), 1);
  EXPECT_EQ(OffsetStatus().active_version(), 1);
  EXPECT_GT(server.laws(), 100) << "M was asked elsewhere";
  const auto store = OpenStore();
  ASSERT_NE(store, nullptr);
  const v1::Manifest manifest = store->ReadManifest(1).value();
  for (const char* score : {"train_tail_mass_max", "train_tail_mass_mean", "train_untold_tokens",
                            "gate_tail_mass_max", "gate_tail_mass_mean", "gate_undecided_tokens"}) {
    ASSERT_EQ(manifest.scores().count(score), 1u) << score;
    EXPECT_GE(manifest.scores().at(score), 0) << score;
    EXPECT_LE(manifest.scores().at(score), 1) << score;
  }
  EXPECT_GT(manifest.scores().at("train_tail_mass_mean"), 0.01) << "20 tokens of a random M";
}

TEST_F(TopTrainingTest, MoreThanTheServerAllowsIsRefusedAtTheStart) {
  CompletionsServer server(model(), /*allowed=*/5);
  StartTrio(Options());
  ASSERT_FALSE(HasFatalFailure());
  const CommandResult result = Run(
      {programs().trainer, "--upstream=openai:" + server.url(),
       absl::StrCat("--upstream_eos_ids=", server.eos()), "--upstream_top=20", "--pair=" + pair(),
       "--store=" + trio().store(), "--store_key_file=" + trio().store_key_file(),
       "--state=" + Path("other_state"), "--validate_only"});
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find("--upstream_top"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace unlearn
