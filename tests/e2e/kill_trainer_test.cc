// The trainer is killed at many moments; the request ends as if it had not been.

#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "offset/store/version_store.h"
#include "tests/e2e/trio_fixture.h"

namespace unlearn {
namespace {

// A checkpoint is written every 50 steps.
constexpr int kSteps = 120;

class KillTrainerTest : public TrioTest {
 protected:
  void SetUp() override {
    TrioTest::SetUp();
    if (HasFatalFailure() || !undisturbed_.empty()) return;
    ASSERT_NO_FATAL_FAILURE(Start());
    undisturbed_ = Finish(Submit(KeyedRequest()));
    ASSERT_FALSE(undisturbed_.empty());
    StopTrio();
  }

  void Start() {
    TrioOptions options = Options();
    // Long enough to be caught at it.
    options.model_server_flags.push_back("--delay_ms=10");
    ASSERT_NO_FATAL_FAILURE(StartTrio(options));
  }

  static v1::SubmitRequest KeyedRequest() {
    v1::SubmitRequest request = Request("Bregenz", 4);
    request.mutable_settings()->set_steps(kSteps);
    request.set_idempotency_key("the same");
    return request;
  }

  void KillAndRestart() {
    trio().trainer().Kill(SIGKILL);
    EXPECT_EQ(trio().trainer().Wait(), 128 + SIGKILL);
    const absl::Status restarted = trio().RestartTrainer();
    ASSERT_TRUE(restarted.ok()) << restarted;
  }

  void WaitForStep(const std::string& id, int step) {
    WaitFor(id, [step](const v1::DeletionRequest& now) {
      return now.step() >= step && now.state() >= v1::TRAINING;
    });
  }

  // The adapter of the one version that there is, once the request is ERASED.
  std::string Finish(const std::string& id) {
    const v1::DeletionRequest request = WaitForState(id, v1::ERASED);
    EXPECT_EQ(request.offset_version(), 1);
    const auto store = OpenStore();
    EXPECT_EQ(store->ListVersions().value(), (std::vector<uint64_t>{0, 1}));
    EXPECT_EQ(store->ActiveVersion().value(), 1);
    EXPECT_TRUE(store->Verify(1).ok());
    EXPECT_TRUE(store->VerifyAudit().ok());
    EXPECT_EQ(OffsetStatus().active_version(), 1);
    // The lost answer asked again: the same request, and nothing is trained twice.
    EXPECT_EQ(Submit(KeyedRequest()), id);
    EXPECT_EQ(store->ListVersions()->size(), 2);
    return store->ReadAdapter(store->ReadManifest(1).value(), 0).value_or("");
  }

  // Of a run that nobody disturbs, with a store and a state of its own.
  static std::string undisturbed_;
};

std::string KillTrainerTest::undisturbed_;

TEST_F(KillTrainerTest, RightAfterSubmit) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string id = Submit(KeyedRequest());
  ASSERT_NO_FATAL_FAILURE(KillAndRestart());
  EXPECT_TRUE(Finish(id) == undisturbed_) << "another adapter";
}

TEST_F(KillTrainerTest, BeforeTheFirstCheckpoint) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string id = Submit(KeyedRequest());
  WaitForStep(id, 10);
  ASSERT_NO_FATAL_FAILURE(KillAndRestart());
  EXPECT_TRUE(Finish(id) == undisturbed_) << "another adapter";
}

TEST_F(KillTrainerTest, AfterACheckpointItGoesOnFromThere) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string id = Submit(KeyedRequest());
  WaitForStep(id, 60);
  ASSERT_NO_FATAL_FAILURE(KillAndRestart());
  // Every step is told, so that the first one above 0 would be 1 if it had begun anew.
  const v1::DeletionRequest resumed =
      WaitFor(id, [](const v1::DeletionRequest& now) { return now.step() > 0; });
  EXPECT_GT(resumed.step(), 50) << resumed.ShortDebugString();
  EXPECT_TRUE(Finish(id) == undisturbed_) << "another adapter";
}

TEST_F(KillTrainerTest, WhileEvaluating) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string id = Submit(KeyedRequest());
  WaitForState(id, v1::EVALUATING);
  ASSERT_NO_FATAL_FAILURE(KillAndRestart());
  EXPECT_TRUE(Finish(id) == undisturbed_) << "another adapter";
}

TEST_F(KillTrainerTest, WhilePublishedAndNotYetEnforced) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string id = Submit(KeyedRequest());
  WaitForState(id, v1::EVALUATING);
  const auto old_stream = Stream(Prompt("holds version 0", 1000));
  ASSERT_TRUE(old_stream->WaitForTokens(1, kPatience));
  WaitForState(id, v1::PUBLISHED);
  ASSERT_NO_FATAL_FAILURE(KillAndRestart());
  EXPECT_EQ(Get(id).state(), v1::PUBLISHED);
  EXPECT_EQ(StreamsOf(OffsetStatus(), 0), 1) << "ended too early to hold the request";
  old_stream->Cancel();
  EXPECT_TRUE(Finish(id) == undisturbed_) << "another adapter";
}

TEST_F(KillTrainerTest, AgainAndAgain) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string id = Submit(KeyedRequest());
  for (const int step : {1, 25, 51, 75, 101, 115}) {
    WaitForStep(id, step);
    if (HasFailure()) return;
    ASSERT_NO_FATAL_FAILURE(KillAndRestart());
  }
  EXPECT_TRUE(Finish(id) == undisturbed_) << "another adapter";
}

}  // namespace
}  // namespace unlearn
