// An M that tells its most likely tokens only.

#include "gtest/gtest.h"
#include "proxy/scheduler/scheduler_test_util.h"

namespace unlearn {
namespace {

class SchedulerTopsTest : public SchedulerTest {
 protected:
  // Tokens and versions are lockstep's, log-probs within what the token says.
  static void ExpectLockstep(const std::vector<DrawnToken>& tokens,
                             const std::vector<DrawnToken>& lockstep) {
    ASSERT_LE(tokens.size(), lockstep.size());
    for (size_t i = 0; i < tokens.size(); ++i) {
      EXPECT_EQ(tokens[i].id, lockstep[i].id) << i;
      EXPECT_EQ(tokens[i].offset_version, lockstep[i].offset_version) << i;
      EXPECT_NEAR(tokens[i].logprob, lockstep[i].logprob, tokens[i].logprob_error + kTolerance);
      EXPECT_GE(tokens[i].truncated_mass, 0) << i;
    }
  }
};

TEST_F(SchedulerTopsTest, TokensAreLockstepsAndMoreIsAskedForWhereItTakesMore) {
  upstream_.TellTops(/*top=*/4, /*most=*/kVocab);
  Start();
  std::vector<StreamTask> tasks;
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 12; ++i) {
    StreamTask task = Task(i % 3, Prompt(i, 3 + i), 16);
    task.seed = 100 + i;
    task.sampling.temperature = i % 4 == 0 ? 0 : 0.4 * (i % 4);
    if (i % 5 == 1) task.sampling.top_k = 8;
    tasks.push_back(task);
  }
  for (const StreamTask& task : tasks) recorders.push_back(Submit(task));
  for (size_t i = 0; i < tasks.size(); ++i) {
    const absl::Status status = recorders[i]->Wait();
    EXPECT_TRUE(status.ok()) << i << ": " << status;
    EXPECT_EQ(recorders[i]->tokens().size(), 16) << i;
    ExpectLockstep(recorders[i]->tokens(), Expected(tasks[i]));
  }
  EXPECT_GT(metrics_.undecided.Value(), 0) << "4 of 48 tokens cannot always be enough";
  EXPECT_EQ(metrics_.tokens.Value(), 12 * 16);
}

TEST_F(SchedulerTopsTest, WhatStaysUndecidedEndsTheStreamBeforeAnotherLawsToken) {
  upstream_.TellTops(/*top=*/2, /*most=*/2);
  Start();
  int failed = 0;
  for (int i = 0; i < 8; ++i) {
    StreamTask task = Task(2, Prompt(i, 5), 40);
    task.seed = i;
    task.sampling.temperature = 1.5;
    const auto recorder = Submit(task);
    const absl::Status status = recorder->Wait();
    ExpectLockstep(recorder->tokens(), Expected(task));
    if (status.ok()) continue;
    ++failed;
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_NE(status.message().find("--upstream_top"), std::string::npos) << status;
  }
  EXPECT_GT(failed, 0);
}

TEST_F(SchedulerTopsTest, ATextCannotBeScored) {
  upstream_.TellTops(4, kVocab);
  Start();
  StreamTask task = Task(1, Prompt(1, 5), 0);
  task.forced = {1, 2};
  EXPECT_EQ(scheduler_->Submit(task, std::make_shared<Recorder>()).status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST_F(SchedulerTopsTest, AnAnswerWithoutTheListEndsItsStreamOnly) {
  upstream_.TellTops(kVocab, kVocab);
  upstream_.change_answer = [](const std::vector<int32_t>& tokens,
                               absl::StatusOr<UpstreamLogits>& answer) {
    if (tokens[0] == Prompt(1, 1)[0]) answer->tops.clear();
  };
  Start();
  const auto broken = Submit(Task(1, Prompt(1, 4), 6));
  const StreamTask good = Task(1, Prompt(2, 4), 6);
  const auto whole = Submit(good);
  EXPECT_EQ(broken->Wait().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(broken->tokens().empty());
  EXPECT_TRUE(whole->Wait().ok());
  ExpectLockstep(whole->tokens(), Expected(good));
}

// What the operator allows, and the request does not forbid.
TEST_F(SchedulerTopsTest, WithinABoundIfThatIsAllowed) {
  upstream_.TellTops(/*top=*/2, /*most=*/2);
  Scheduler::Options options;
  options.max_truncated_mass = 0.999;
  Start(options);
  int truncated = 0, refused = 0;
  for (int i = 0; i < 8; ++i) {
    StreamTask task = Task(2, Prompt(i, 5), 40);
    task.seed = i;
    task.sampling.temperature = 1.5;
    const auto within = Submit(task);
    const absl::Status status = within->Wait();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(within->ids().size(), 40u);
    for (const DrawnToken& token : within->tokens()) {
      truncated += token.truncated;
      EXPECT_LE(token.truncated_mass, 0.999);
      EXPECT_TRUE(!token.truncated || token.truncated_mass > 0);
    }
    task.exact = true;
    const auto exact = Submit(task);
    refused += exact->Wait().code() == absl::StatusCode::kFailedPrecondition;
    for (const DrawnToken& token : exact->tokens()) EXPECT_FALSE(token.truncated);
  }
  EXPECT_GT(truncated, 0);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace unlearn
