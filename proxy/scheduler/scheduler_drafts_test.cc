// Draft and verify: lockstep's tokens, with fewer calls of M.

#include <atomic>
#include <cmath>

#include "gtest/gtest.h"
#include "proxy/scheduler/scheduler_test_util.h"

namespace unlearn {
namespace {

class SchedulerDraftsTest : public SchedulerTest {
 protected:
  // M is like the pair's base, so that some drafts stand and some do not.
  SchedulerDraftsTest() {
    upstream_.ScoreDrafts([this](absl::Span<const int32_t> tokens) {
      const std::vector<int64_t> ids(tokens.begin(), tokens.end());
      const at::Tensor row = base_->Logits(base_->Forward(
          at::tensor(ids, at::TensorOptions(at::kLong)).unsqueeze(0), LoraStack()))[0][-1];
      const at::Tensor contiguous = row.contiguous();
      const float* const begin = contiguous.const_data_ptr<float>();
      return std::vector<float>(begin, begin + kVocab);
    });
    upstream_.change_answer = [this](const std::vector<int32_t>&, auto&) { ++calls_; };
  }

  StreamTask DraftTask(int i, int32_t max_tokens) {
    StreamTask task = Task(1 + i % 2, Prompt(i, 3 + i), max_tokens);
    task.decoding = Decoding::kDraftAndVerify;
    task.seed = 100 + i;
    task.sampling.temperature = i % 4 == 0 ? 0 : 0.4 * (i % 4);
    if (i % 5 == 1) task.sampling.top_k = 8;
    if (i % 5 == 2) task.sampling.top_p = 0.8f;
    if (i % 5 == 3) task.sampling.min_p = 0.05f;
    return task;
  }

  std::atomic<int> calls_{0};
};

TEST_F(SchedulerDraftsTest, TokensAreLockstepsInFewerCalls) {
  Start();
  constexpr int kStreams = 10, kTokens = 40;
  std::vector<StreamTask> tasks;
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < kStreams; ++i) tasks.push_back(DraftTask(i, kTokens));
  for (const StreamTask& task : tasks) recorders.push_back(Submit(task));
  for (int i = 0; i < kStreams; ++i) {
    const absl::Status status = recorders[i]->Wait();
    EXPECT_TRUE(status.ok()) << i << ": " << status;
    ExpectSame(recorders[i]->tokens(), Expected(tasks[i]));
  }
  EXPECT_LT(calls_, kStreams * kTokens * 3 / 4);
  const double drafts = metrics_.drafts.Value(), stood = metrics_.drafts_stood.Value();
  EXPECT_GT(stood, 0.1 * drafts);
  EXPECT_LT(stood, drafts) << "nothing was ever verified";
  // Each answer gives one token beside the drafts that stand.
  EXPECT_EQ(calls_ + stood, kStreams * kTokens);
}

// To the bit: what a token's log-prob is computed from does not depend on how it came about.
TEST_F(SchedulerDraftsTest, LogprobsAreLockstepsToo) {
  Start();
  for (int i = 0; i < 4; ++i) {
    StreamTask task = DraftTask(i, 30);
    const auto drafted = Submit(task);
    ASSERT_TRUE(drafted->Wait().ok());
    task.decoding = Decoding::kLockstep;
    const auto lockstep = Submit(task);
    ASSERT_TRUE(lockstep->Wait().ok());
    const std::vector<DrawnToken> tokens = drafted->tokens(), expected = lockstep->tokens();
    ASSERT_EQ(tokens.size(), expected.size());
    for (size_t t = 0; t < tokens.size(); ++t) {
      EXPECT_EQ(tokens[t].id, expected[t].id) << t;
      EXPECT_EQ(tokens[t].logprob, expected[t].logprob) << t;
    }
  }
}

// Beside streams in lockstep, under an empty stack and to be scored; few slots to share.
TEST_F(SchedulerDraftsTest, ModesShareTheBatch) {
  Scheduler::Options options;
  options.max_streams = 64;
  Start(options);
  std::vector<StreamTask> tasks;
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 60; ++i) {
    StreamTask task = DraftTask(i % 20, 12);
    if (i % 4 == 1) task.decoding = Decoding::kLockstep;
    if (i % 4 == 2) {
      task.version = versions_[0];
      task.decoding = Decoding::kAuto;
    }
    if (i % 4 == 3) {
      StreamTask generated = task;
      for (const DrawnToken& token : Expected(generated)) task.forced.push_back(token.id);
      task.decoding = Decoding::kAuto;
      task.max_tokens = 0;
    }
    tasks.push_back(task);
  }
  for (const StreamTask& task : tasks) recorders.push_back(Submit(task));
  for (size_t i = 0; i < tasks.size(); ++i) {
    const absl::Status status = recorders[i]->Wait();
    EXPECT_TRUE(status.ok()) << i << ": " << status;
    StreamTask expected = tasks[i];
    expected.max_tokens = 12;
    ExpectSame(recorders[i]->tokens(), Expected(expected));
  }
}

TEST_F(SchedulerDraftsTest, EndsWhereLockstepEnds) {
  Start();
  for (int i = 0; i < 12; ++i) {
    StreamTask task = DraftTask(i, 40);
    const std::vector<DrawnToken> all = Expected(task);
    // Some token of the text ends it: with it, by an end token or a stop string.
    const int32_t end = all[5 + i % 7].id;
    size_t length = 0;
    while (all[length].id != end) ++length;
    auto recorder = std::make_shared<Recorder>();
    if (i % 2 == 0) {
      task.end_ids = {end};
    } else {
      recorder->stop_after = end;
    }
    ASSERT_TRUE(scheduler_->Submit(task, recorder).ok());
    ASSERT_TRUE(recorder->Wait().ok());
    EXPECT_TRUE(recorder->hit_end());
    ASSERT_EQ(recorder->ids().size(), length + 1) << i;
    EXPECT_EQ(recorder->ids().back(), end);
    EXPECT_EQ(recorder->tokens().back().is_end, i % 2 == 0);
  }
  for (const int32_t most : {1, 2, 3}) {
    StreamTask task = DraftTask(4, most);
    const auto recorder = Submit(task);
    ASSERT_TRUE(recorder->Wait().ok());
    EXPECT_FALSE(recorder->hit_end());
    ExpectSame(recorder->tokens(), Expected(task));
  }
}

// Rows after a draft that does not stand are nobody's: lockstep would not have seen them.
TEST_F(SchedulerDraftsTest, WhatIsWrongWithRowsNobodyNeedsIsNoError) {
  Start();
  StreamTask task = DraftTask(1, 40);
  const std::vector<DrawnToken> all = Expected(task);
  std::vector<int32_t> text = task.prompt;
  for (const DrawnToken& token : all) text.push_back(token.id);
  std::atomic<int> spoilt{0};
  upstream_.change_answer = [&](const std::vector<int32_t>& tokens,
                                absl::StatusOr<UpstreamLogits>& answer) {
    const int64_t columns = kVocab + kPaddedRows;
    for (int64_t row = 0; row < answer->rows; ++row) {
      // The tokens before this row.
      const size_t length = tokens.size() - (answer->rows - 1 - row);
      if (std::equal(tokens.begin(), tokens.begin() + length, text.begin())) continue;
      answer->logits[row * columns] = NAN;
      ++spoilt;
    }
  };
  const auto recorder = Submit(task);
  const absl::Status status = recorder->Wait();
  EXPECT_TRUE(status.ok()) << status;
  ExpectSame(recorder->tokens(), all);
  EXPECT_GT(spoilt, 0);
}

TEST_F(SchedulerDraftsTest, AnErrorOfMsEndsTheStreamAfterWhatStood) {
  Start();
  StreamTask task = DraftTask(2, 40);
  const std::vector<DrawnToken> all = Expected(task);
  upstream_.change_answer = [&](const std::vector<int32_t>& tokens,
                                absl::StatusOr<UpstreamLogits>& answer) {
    if (tokens.size() > task.prompt.size() + 12) answer = absl::UnavailableError("M is gone");
  };
  const auto recorder = Submit(task);
  EXPECT_EQ(recorder->Wait().code(), absl::StatusCode::kUnavailable);
  const std::vector<DrawnToken> tokens = recorder->tokens();
  ASSERT_LT(tokens.size(), all.size());
  ExpectSame(tokens, {all.begin(), all.begin() + tokens.size()});
}

TEST_F(SchedulerDraftsTest, CancelledStreamsLeaveNothing) {
  Start();
  for (int i = 0; i < 20; ++i) {
    StreamTask task = DraftTask(i, 400);
    std::shared_ptr<Scheduler::Stream> stream;
    const auto recorder = Submit(task, &stream);
    recorder->WaitForTokens(1 + i % 5);
    scheduler_->Cancel(stream);
    EXPECT_EQ(recorder->Wait().code(), absl::StatusCode::kCancelled);
  }
  EXPECT_TRUE(scheduler_->StreamsByVersion().empty());
  EXPECT_EQ(upstream_.open_sessions(), 0);
  const StreamTask task = DraftTask(3, 20);
  const auto recorder = Submit(task);
  ASSERT_TRUE(recorder->Wait().ok());
  ExpectSame(recorder->tokens(), Expected(task));
}

TEST_F(SchedulerDraftsTest, WithoutAnAdapterThereIsNoDrafter) {
  Start();
  StreamTask task = DraftTask(0, 20);
  task.version = versions_[0];
  const auto recorder = Submit(task);
  ASSERT_TRUE(recorder->Wait().ok());
  ExpectSame(recorder->tokens(), Expected(task));
  EXPECT_EQ(metrics_.drafts.Value(), 0);
}

}  // namespace
}  // namespace unlearn
