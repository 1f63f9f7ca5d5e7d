#include "trainer/server/request_runner.h"

#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "trainer/ledger/residue_scan.h"
#include "trainer/server/testing/trainer_fixture.h"

namespace unlearn {
namespace {

class RequestRunnerTest : public testing::Test {
 protected:
  RequestRunnerTest()
      : folder_(absl::StrCat(testing::TempDir(), "/runner_", getpid())),
        rig_(std::make_unique<TrainerFixture>(folder_)) {}
  ~RequestRunnerTest() override {
    rig_.reset();
    EXPECT_TRUE(ShredFolder(folder_).ok());
  }
  size_t Versions() { return rig_->store->ListVersions()->size(); }

  const std::string folder_;
  std::unique_ptr<TrainerFixture> rig_;
};

TEST_F(RequestRunnerTest, ARequestGoesAllTheWay) {
  const std::string secret = "Jane Canary lives at 17 Nowhere Lane";
  const std::string id = rig_->Submit(secret);
  rig_->Start();
  const v1::DeletionRequest done = rig_->WaitFor(id, v1::ERASED);
  EXPECT_EQ(done.offset_version(), 1);
  EXPECT_EQ(done.step(), 5);
  EXPECT_EQ(done.steps(), 5);
  EXPECT_EQ(done.scores().at("forget_rate"), 0);
  EXPECT_EQ(done.message(), "");
  EXPECT_EQ(*rig_->store->ActiveVersion(), 1);
  const v1::Manifest manifest = *rig_->store->ReadManifest(1);
  EXPECT_EQ(manifest.model_id(), "tiny");
  EXPECT_EQ(manifest.seed(), 3);
  EXPECT_EQ(manifest.scores().at("forget_rate"), 0);
  EXPECT_EQ(*rig_->store->ReadAdapter(manifest, 0), "adapter of " + id);
  EXPECT_EQ(rig_->EnforcedNow(), std::vector<std::string>{id});
  EXPECT_FALSE(FileExists(JoinPath(folder_, "state/work/" + id)));
  EXPECT_FALSE(FileExists(JoinPath(folder_, absl::StrCat("state/keys/", id, ".key"))));
  const auto residue = FindResidue({folder_}, {{secret, {}}});
  ASSERT_TRUE(residue.ok());
  EXPECT_TRUE(residue->empty());
}

TEST_F(RequestRunnerTest, RequestsStackInOrder) {
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(rig_->Submit());
  rig_->Start();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(rig_->WaitFor(ids[i], v1::ERASED).offset_version(), i + 1);
  }
  EXPECT_EQ(rig_->EnforcedNow(), ids);
  const v1::Manifest manifest = *rig_->store->ReadManifest(3);
  ASSERT_EQ(manifest.adapters_size(), 3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(*rig_->store->ReadAdapter(manifest, i), "adapter of " + ids[i]);
    EXPECT_EQ(rig_->trainer.calls()[i], absl::StrCat(ids[i], " on ", i, " from 0"));
  }
}

TEST_F(RequestRunnerTest, TheGateRefusesAndARetryWithOtherSettingsPasses) {
  FakeTrainer::Script script;
  script.accepted = false;
  rig_->trainer.Set(script);
  const std::string id = rig_->Submit("Jane Canary again");
  const std::string next = rig_->Submit();
  rig_->Start();
  v1::DeletionRequest request = rig_->WaitFor(id, v1::NEEDS_OPERATOR);
  EXPECT_EQ(request.message(), "forget_rate 0.5 is above 0.1; keep 0.2 is below 0.9");
  EXPECT_EQ(request.scores().at("forget_rate"), 0.5);
  EXPECT_EQ(request.offset_version(), 0);
  rig_->WaitFor(next, v1::NEEDS_OPERATOR);  // one that waits does not hold up the others
  EXPECT_EQ(Versions(), 1);
  EXPECT_TRUE(rig_->queue->Payload(id).ok());

  rig_->trainer.Set({});
  v1::TrainingSettings settings;
  settings.set_objective("npo");
  ASSERT_TRUE(rig_->queue->Retry(id, settings).ok());
  EXPECT_EQ(rig_->WaitFor(id, v1::ERASED).settings().objective(), "npo");
  EXPECT_EQ(rig_->store->ReadManifest(1)->objective(), "npo");
  // With other settings nothing of the first training may be used.
  EXPECT_EQ(rig_->trainer.calls().back(), id + " on 0 from 0");
}

TEST_F(RequestRunnerTest, AFailureIsShownAndARetryGoesOnFromTheCheckpoint) {
  FakeTrainer::Script script;
  script.fails = absl::ResourceExhaustedError("no memory for the batch");
  rig_->trainer.Set(script);
  const std::string id = rig_->Submit();
  rig_->Start();
  EXPECT_EQ(rig_->WaitFor(id, v1::FAILED).message(), "RESOURCE_EXHAUSTED: no memory for the batch");
  EXPECT_EQ(Versions(), 1);
  rig_->trainer.Set({});
  ASSERT_TRUE(rig_->queue->Retry(id, absl::nullopt).ok());
  rig_->WaitFor(id, v1::ERASED);
  EXPECT_EQ(rig_->trainer.calls().back(), id + " on 0 from 5");
}

TEST_F(RequestRunnerTest, WorkingFilesOfAFailureDoNotOutliveTheirRetention) {
  FakeTrainer::Script script;
  script.fails = absl::InternalError("x");
  rig_->trainer.Set(script);
  const std::string id = rig_->Submit();
  rig_->Start();
  rig_->WaitFor(id, v1::FAILED);
  rig_->runner->Stop();
  EXPECT_TRUE(rig_->queue->WorkFolder(id).Has("cache"));
  rig_->options.failed_retention = absl::Seconds(-5);
  rig_->Restart();
  rig_->Start();
  rig_->trainer.Set({});
  rig_->WaitFor(rig_->Submit(), v1::ERASED);
  EXPECT_FALSE(FileExists(JoinPath(folder_, "state/work/" + id)));
  EXPECT_TRUE(rig_->queue->Payload(id).ok());
}

TEST_F(RequestRunnerTest, AModelThatIsAwayIsWaitedFor) {
  FakeTrainer::Script script;
  script.unavailable_times = 6;
  rig_->trainer.Set(script);
  const std::string id = rig_->Submit();
  rig_->Start();
  rig_->WaitFor(id, v1::ERASED);
  EXPECT_EQ(rig_->trainer.calls().size(), 7);
}

TEST_F(RequestRunnerTest, WaitingForTheModelEndsAtOnceWhenCancelledOrStopped) {
  FakeTrainer::Script script;
  script.unavailable_times = 1000000;
  rig_->trainer.Set(script);
  rig_->options.first_retry = rig_->options.longest_retry = absl::Hours(10);
  rig_->Restart();
  rig_->Start();
  const std::string id = rig_->Submit();
  const absl::Time deadline = absl::Now() + absl::Minutes(5);
  while (!absl::StrContains(rig_->Get(id).message(), "waiting for the model")) {
    const int64_t seen = rig_->queue->changes().ChangeCount();
    if (absl::StrContains(rig_->Get(id).message(), "waiting for the model")) break;
    ASSERT_TRUE(rig_->queue->changes().WaitForChange(seen, deadline));
  }
  EXPECT_EQ(rig_->Get(id).state(), v1::TRAINING);
  ASSERT_TRUE(rig_->runner->Cancel(id).ok());
  ASSERT_TRUE(rig_->runner->WaitUntilErased(id, deadline).ok());
  const std::string other = rig_->Submit();
  rig_->WaitFor(other, v1::TRAINING);
  rig_->runner->Stop();
  EXPECT_LT(absl::Now(), deadline);
  EXPECT_EQ(rig_->Get(other).state(), v1::TRAINING);
}

TEST_F(RequestRunnerTest, CancelInTheMiddleStopsBetweenStepsAndErases) {
  absl::Notification reached, go_on;
  FakeTrainer::Script script;
  script.steps = 1000;
  script.after_step = [&](const TrainingJob&, int step) {
    if (step != 3) return;
    reached.Notify();
    go_on.WaitForNotification();
  };
  rig_->trainer.Set(script);
  const std::string id = rig_->Submit();
  rig_->Start();
  reached.WaitForNotification();
  EXPECT_EQ(rig_->Get(id).step(), 3);
  ASSERT_TRUE(rig_->runner->Cancel(id).ok());
  EXPECT_EQ(rig_->Get(id).state(), v1::CANCELLED);
  // The text stays while training still holds it, and goes when that has stopped.
  EXPECT_EQ(rig_->runner->WaitUntilErased(id, absl::InfinitePast()).code(),
            absl::StatusCode::kDeadlineExceeded);
  go_on.Notify();
  ASSERT_TRUE(rig_->runner->WaitUntilErased(id, absl::Now() + absl::Minutes(5)).ok());
  EXPECT_EQ(rig_->Get(id).state(), v1::CANCELLED);
  EXPECT_EQ(Versions(), 1);
  EXPECT_FALSE(FileExists(JoinPath(folder_, "state/work/" + id)));
  EXPECT_FALSE(rig_->queue->Payload(id).ok());
  ASSERT_TRUE(rig_->runner->Cancel(id).ok());  // again
}

TEST_F(RequestRunnerTest, CancelBeforeTrainingAndTooLate) {
  const std::string early = rig_->Submit();
  ASSERT_TRUE(rig_->runner->Cancel(early).ok());
  const std::string done = rig_->Submit();
  rig_->Start();
  rig_->WaitFor(early, v1::CANCELLED);
  rig_->WaitFor(done, v1::ERASED);
  EXPECT_EQ(rig_->runner->Cancel(done).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(rig_->runner->Cancel("req-none").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(rig_->trainer.calls().size(), 1);
}

TEST_F(RequestRunnerTest, CancelDuringTheVerdictPublishesNothing) {
  FakeTrainer::Script script;
  script.before_return = [&](const TrainingJob& job) {
    EXPECT_TRUE(rig_->runner->Cancel(job.request_id).ok());
  };
  rig_->trainer.Set(script);
  const std::string id = rig_->Submit();
  rig_->Start();
  rig_->WaitFor(id, v1::CANCELLED);
  EXPECT_EQ(Versions(), 1);
}

TEST_F(RequestRunnerTest, StopLeavesACheckpointAndTheNextProcessGoesOn) {
  absl::Notification reached;
  FakeTrainer::Script script;
  script.steps = 1000;
  script.after_step = [&](const TrainingJob&, int step) {
    if (step == 3) reached.Notify();
  };
  rig_->trainer.Set(script);
  const std::string id = rig_->Submit();
  rig_->Start();
  reached.WaitForNotification();
  rig_->runner->Stop();
  EXPECT_EQ(rig_->Get(id).state(), v1::TRAINING);
  const int step = rig_->Get(id).step();
  EXPECT_GE(step, 3);
  EXPECT_LT(step, 1000);
  script.steps = step + 2;
  script.after_step = nullptr;
  rig_->trainer.Set(script);
  rig_->Restart();
  rig_->Start();
  rig_->WaitFor(id, v1::ERASED);
  EXPECT_EQ(rig_->trainer.calls().back(), absl::StrCat(id, " on 0 from ", step));
  EXPECT_EQ(Versions(), 2);
}

TEST_F(RequestRunnerTest, ANewStackDuringTrainingIsTrainedOnAgain) {
  FakeTrainer::Script script;
  bool once = false;
  script.before_return = [&](const TrainingJob&) {
    if (once) return;
    once = true;
    // Somebody else publishes and activates meanwhile.
    v1::Manifest draft = *rig_->store->ReadManifest(0);
    const auto version = rig_->store->Publish(draft, {NewAdapter{"req-other", 4, "another"}});
    ASSERT_TRUE(version.ok()) << version.status();
    ASSERT_TRUE(rig_->store->Activate(*version, {}, "test").ok());
  };
  rig_->trainer.Set(script);
  const std::string id = rig_->Submit();
  rig_->Start();
  EXPECT_EQ(rig_->WaitFor(id, v1::ERASED).offset_version(), 2);
  EXPECT_EQ(rig_->EnforcedNow(), (std::vector<std::string>{"req-other", id}));
  EXPECT_EQ(rig_->trainer.calls(),
            (std::vector<std::string>{id + " on 0 from 0", id + " on 1 from 0"}));
}

TEST_F(RequestRunnerTest, AVersionThatAKilledTrainerPublishedIsFound) {
  const std::string id = rig_->Submit();
  // As it stands after a kill between the store and the queue.
  ASSERT_TRUE(rig_->queue->Transition(id, v1::RECEIVED, v1::TRAINING).ok());
  ASSERT_TRUE(rig_->queue->Transition(id, v1::TRAINING, v1::EVALUATING).ok());
  ASSERT_TRUE(rig_->queue->BeginPublishing(id).ok());
  v1::Manifest draft = *rig_->store->ReadManifest(0);
  (*draft.mutable_scores())["forget_rate"] = 0.05;
  ASSERT_TRUE(rig_->store->Publish(draft, {NewAdapter{id, 4, "adapter"}}).ok());
  EXPECT_EQ(rig_->runner->Cancel(id).code(), absl::StatusCode::kFailedPrecondition);
  rig_->Restart();
  rig_->Start();
  const v1::DeletionRequest done = rig_->WaitFor(id, v1::ERASED);
  EXPECT_EQ(done.offset_version(), 1);
  EXPECT_EQ(done.scores().at("forget_rate"), 0.05);
  EXPECT_TRUE(rig_->trainer.calls().empty());
  EXPECT_EQ(Versions(), 2);
}

TEST_F(RequestRunnerTest, NothingIsErasedBeforeEveryProxyHasAcknowledged) {
  rig_->enforcement.Answer({false, "waiting for 1 of 2 proxies"});
  const std::string id = rig_->Submit();
  const std::string next = rig_->Submit();
  rig_->Start();
  rig_->WaitFor(id, v1::PUBLISHED);
  rig_->WaitFor(next, v1::PUBLISHED);  // training goes on meanwhile
  const absl::Time deadline = absl::Now() + absl::Minutes(5);
  while (true) {
    const int64_t seen = rig_->queue->changes().ChangeCount();
    if (rig_->Get(id).message() == "waiting for 1 of 2 proxies" && rig_->enforcement.checks() > 5) {
      break;
    }
    rig_->queue->changes().WaitForChange(seen,
                                         std::min(deadline, absl::Now() + absl::Milliseconds(5)));
    ASSERT_LT(absl::Now(), deadline);
  }
  EXPECT_TRUE(rig_->queue->Payload(id).ok());
  EXPECT_EQ(rig_->runner->Cancel(id).code(), absl::StatusCode::kFailedPrecondition);
  rig_->enforcement.Answer({true, ""});
  rig_->WaitFor(id, v1::ERASED);
  rig_->WaitFor(next, v1::ERASED);
}

}  // namespace
}  // namespace unlearn
