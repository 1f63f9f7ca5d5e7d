// Stream and verify: M's server draws, the pair corrects; the tokens are the ensemble's.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gtest/gtest.h"
#include "offset/combine/chi_square.h"
#include "proxy/scheduler/scheduler_test_util.h"

namespace unlearn {
namespace {

class SchedulerStreamedTest : public SchedulerTest {
 protected:
  void Tell(int32_t top, int32_t most, int piece = 3, int untold = 0) {
    upstream_.TellTops(top, most);
    upstream_.DrawTokens(piece, untold);
  }
  // The ensemble's law of the next token at temperature T: [kVocab].
  std::vector<double> Law(StreamTask task, const std::vector<int32_t>& prefix) {
    task.prompt = prefix;
    task.max_tokens = 1;
    const std::vector<float> model = upstream_.Row(prefix);
    const at::Tensor ids =
        at::tensor(at::ArrayRef<int32_t>(prefix), at::TensorOptions(at::kLong)).unsqueeze(0);
    const at::Tensor delta = (base_->Logits(base_->Forward(ids, *task.version->stack)) -
                              base_->Logits(base_->Forward(ids, LoraStack())))[0][-1]
                                 .contiguous();
    std::vector<double> law(kVocab);
    double sum = 0;
    for (int i = 0; i < kVocab; ++i) {
      const double z = model[i] + task.alpha * delta.data_ptr<float>()[i];
      sum += law[i] = std::exp(z / task.sampling.temperature);
    }
    for (double& p : law) p /= sum;
    return law;
  }
};

// Greedily there is one right answer, whatever M's stream was.
TEST_F(SchedulerStreamedTest, GreedyTokensAreLocksteps) {
  Tell(/*top=*/6, /*most=*/kVocab);
  Start();
  std::vector<StreamTask> tasks;
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 12; ++i) tasks.push_back(Task(i % 3, Prompt(i, 3 + i), 24));
  for (const StreamTask& task : tasks) recorders.push_back(Submit(task));
  for (size_t i = 0; i < tasks.size(); ++i) {
    const absl::Status status = recorders[i]->Wait();
    EXPECT_TRUE(status.ok()) << i << ": " << status;
    const std::vector<DrawnToken> tokens = recorders[i]->tokens(), expected = Expected(tasks[i]);
    ASSERT_EQ(tokens.size(), expected.size()) << i;
    for (size_t t = 0; t < tokens.size(); ++t) {
      EXPECT_EQ(tokens[t].id, expected[t].id) << i << " " << t;
      EXPECT_NEAR(tokens[t].logprob, expected[t].logprob, tokens[t].logprob_error + kTolerance);
    }
  }
  EXPECT_GT(metrics_.streamed_accepted.Value(), 100);
  EXPECT_GT(metrics_.streamed_replaced.Value(), 10);
}

// Without an adapter all of M's tokens stand, however little is told, and nothing more is asked.
TEST_F(SchedulerStreamedTest, WithoutAnOffsetMsStreamGoesThrough) {
  Tell(/*top=*/2, /*most=*/2);
  Start();
  for (int i = 0; i < 6; ++i) {
    StreamTask task = Task(0, Prompt(i, 5), 40);
    task.sampling.temperature = i < 3 ? 0.0f : 1.3f;
    const auto recorder = Submit(task);
    const absl::Status status = recorder->Wait();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(recorder->ids().size(), 40u);
  }
  EXPECT_EQ(metrics_.streamed_accepted.Value(), 240);
  EXPECT_EQ(metrics_.undecided.Value(), 0);
}

// The law of the first two tokens, over many streams, against the exact one, each at a false-alarm
// rate of 10^-6.
TEST_F(SchedulerStreamedTest, TokensHaveTheEnsemblesLaw) {
  Tell(/*top=*/5, /*most=*/kVocab, /*piece=*/3, /*untold=*/7);
  Start();
  constexpr int kRuns = 6000;
  StreamTask task = Task(2, Prompt(1, 6), 2);
  task.sampling.temperature = 2.5;
  task.alpha = 0.6;
  std::vector<int> first(kVocab);
  std::vector<std::vector<int>> second(kVocab, std::vector<int>(kVocab));
  for (int run = 0; run < kRuns;) {
    std::vector<std::shared_ptr<Recorder>> recorders;
    for (int i = 0; i < 200; ++i, ++run) {
      task.seed = run;
      recorders.push_back(Submit(task));
    }
    for (const auto& recorder : recorders) {
      const absl::Status status = recorder->Wait();
      ASSERT_TRUE(status.ok()) << status;
      const std::vector<int32_t> ids = recorder->ids();
      ++first[ids[0]];
      ++second[ids[0]][ids[1]];
    }
  }
  const auto expect_law = [](const std::vector<int>& counts, const std::vector<double>& law) {
    ExpectCountsFollow(counts, law);
    const int draws = std::accumulate(counts.begin(), counts.end(), 0);
    EXPECT_GT(std::count_if(law.begin(), law.end(), [&](double p) { return p * draws >= 10; }), 3);
  };
  expect_law(first, Law(task, task.prompt));
  std::vector<int32_t> prefix = task.prompt;
  const auto likely = std::max_element(first.begin(), first.end()) - first.begin();
  prefix.push_back(static_cast<int32_t>(likely));
  expect_law(second[likely], Law(task, prefix));
  EXPECT_GT(metrics_.streamed_replaced.Value(), kRuns / 20);
  EXPECT_GT(metrics_.undecided.Value(), kRuns / 20) << "nothing was asked again";
}

TEST_F(SchedulerStreamedTest, WhatStaysUndecidedEndsTheStream) {
  Tell(/*top=*/2, /*most=*/2);
  Start();
  int failed = 0;
  for (int i = 0; i < 10; ++i) {
    StreamTask task = Task(2, Prompt(i, 5), 40);
    task.seed = i;
    task.sampling.temperature = 1.5;
    const auto recorder = Submit(task);
    const absl::Status status = recorder->Wait();
    if (status.ok()) continue;
    ++failed;
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_NE(status.message().find("--upstream_top"), std::string::npos) << status;
  }
  EXPECT_GT(failed, 0);
}

TEST_F(SchedulerStreamedTest, EndsWhereTheEnsembleEnds) {
  Tell(6, kVocab);
  Start();
  for (int i = 0; i < 8; ++i) {
    StreamTask task = Task(1 + i % 2, Prompt(i, 4), 40);
    const std::vector<DrawnToken> all = Expected(task);
    const int32_t end = all[3 + i].id;
    size_t length = 0;
    while (all[length].id != end) ++length;
    auto recorder = std::make_shared<Recorder>();
    if (i % 2 == 0) {
      task.end_ids = {end};
    } else {
      recorder->stop_after = end;
    }
    ASSERT_TRUE(scheduler_->Submit(task, recorder).ok());
    const absl::Status status = recorder->Wait();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(recorder->hit_end());
    EXPECT_EQ(recorder->ids().size(), length + 1) << i;
    EXPECT_EQ(recorder->tokens().back().is_end, i % 2 == 0);
  }
}

// M's server ends its texts where it likes; the ensemble goes on.
TEST_F(SchedulerStreamedTest, AStreamThatMEndsIsBegunAgain) {
  Tell(6, kVocab, /*piece=*/2);
  upstream_.change_sample = [](const std::vector<int32_t>& tokens,
                               absl::StatusOr<SampledRows>& answer) {
    if (tokens.size() % 5 == 0) answer->ended = true;
  };
  Start();
  const StreamTask task = Task(2, Prompt(3, 7), 30);
  const auto recorder = Submit(task);
  const absl::Status status = recorder->Wait();
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<DrawnToken> expected = Expected(task);
  ASSERT_EQ(recorder->ids().size(), expected.size());
  for (size_t t = 0; t < expected.size(); ++t) EXPECT_EQ(recorder->ids()[t], expected[t].id);
}

TEST_F(SchedulerStreamedTest, WhatMGetsWrongEndsItsStreamOnly) {
  Tell(6, kVocab, /*piece=*/1);
  const StreamTask task = Task(2, Prompt(3, 7), 30);
  const std::vector<std::pair<absl::StatusCode, std::function<void(absl::StatusOr<SampledRows>&)>>>
      faults = {
          {absl::StatusCode::kUnavailable,
           [](absl::StatusOr<SampledRows>& answer) { answer = absl::UnavailableError("gone"); }},
          // A padded row, which stands for no token.
          {absl::StatusCode::kInternal,
           [](absl::StatusOr<SampledRows>& answer) { answer->rows[0].id = kVocab; }},
          {absl::StatusCode::kInternal,
           [](absl::StatusOr<SampledRows>& answer) { answer->rows[0].top.logprobs[0] = NAN; }},
          {absl::StatusCode::kInternal,
           [](absl::StatusOr<SampledRows>& answer) { answer->rows[0].top.ids[1] = -1; }},
      };
  for (const auto& [code, spoil] : faults) {
    upstream_.change_sample = [&](const std::vector<int32_t>& tokens,
                                  absl::StatusOr<SampledRows>& answer) {
      if (tokens[0] == task.prompt[0] && tokens.size() > task.prompt.size() + 8) spoil(answer);
    };
    Start();
    const auto recorder = Submit(task);
    const auto other = Submit(Task(1, Prompt(8, 7), 30));
    const absl::Status status = recorder->Wait();
    EXPECT_EQ(status.code(), code) << status;
    const std::vector<DrawnToken> expected = Expected(task);
    const std::vector<int32_t> ids = recorder->ids();
    ASSERT_LT(ids.size(), expected.size());
    for (size_t t = 0; t < ids.size(); ++t) EXPECT_EQ(ids[t], expected[t].id);
    const absl::Status others = other->Wait();
    EXPECT_TRUE(others.ok()) << others;
    scheduler_.reset();
  }
}

TEST_F(SchedulerStreamedTest, CancelledStreamsLeaveNothing) {
  Tell(6, kVocab);
  Start();
  for (int i = 0; i < 20; ++i) {
    StreamTask task = Task(2, Prompt(i, 6), 400);
    std::shared_ptr<Scheduler::Stream> stream;
    const auto recorder = Submit(task, &stream);
    recorder->WaitForTokens(1 + i % 5);
    scheduler_->Cancel(stream);
    EXPECT_EQ(recorder->Wait().code(), absl::StatusCode::kCancelled);
  }
  EXPECT_TRUE(scheduler_->StreamsByVersion().empty());
  EXPECT_EQ(upstream_.open_sessions(), 0);
}

// Beside streams that ask for each token.
TEST_F(SchedulerStreamedTest, ModesShareTheBatch) {
  Tell(6, kVocab, /*piece=*/4, /*untold=*/5);
  Start();
  std::vector<StreamTask> tasks;
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 16; ++i) {
    tasks.push_back(Task(i % 3, Prompt(i, 3 + i % 9), 20));
    if (i % 2 == 0) tasks.back().decoding = Decoding::kTopK;
  }
  for (const StreamTask& task : tasks) recorders.push_back(Submit(task));
  for (size_t i = 0; i < tasks.size(); ++i) {
    const absl::Status status = recorders[i]->Wait();
    EXPECT_TRUE(status.ok()) << i << ": " << status;
    const std::vector<DrawnToken> expected = Expected(tasks[i]);
    ASSERT_EQ(recorders[i]->ids().size(), expected.size());
    for (size_t t = 0; t < expected.size(); ++t) {
      EXPECT_EQ(recorders[i]->ids()[t], expected[t].id) << i << " " << t;
    }
  }
}

// What the operator allows, and the request does not forbid.
TEST_F(SchedulerStreamedTest, WithinABoundIfThatIsAllowed) {
  Tell(/*top=*/2, /*most=*/2);
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
