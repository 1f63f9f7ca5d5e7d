#include "proxy/scheduler/scheduler.h"

#include <algorithm>
#include <cmath>

#include "absl/synchronization/notification.h"
#include "offset/combine/token_drawer.h"
#include "offset/pair/cpu_pair_backend.h"
#include "proxy/scheduler/scheduler_test_util.h"

namespace unlearn {
namespace {

TEST_F(SchedulerTest, EmptyStackAndZeroAlphaGiveMsOwnTokens) {
  Start();
  StreamTask zero_alpha = Task(2, Prompt(1, 9), 30);
  zero_alpha.alpha = 0;
  for (const StreamTask& task : {Task(0, Prompt(1, 9), 30), zero_alpha}) {
    std::vector<int32_t> tokens = task.prompt;
    std::vector<DrawnToken> expected;
    for (int i = 0; i < 30; ++i) {
      std::vector<float> row = upstream_.Row(tokens);
      row.resize(kVocab);
      const int32_t best = std::max_element(row.begin(), row.end()) - row.begin();
      // M's row alone, through the same arithmetic; that itself is right to 1e-5.
      TokenDrawer alone(kVocab);
      ASSERT_TRUE(alone.Combine(row, std::vector<float>(kVocab), 0).ok());
      EXPECT_NEAR(alone.Logprob(best), row[best] - LogSumExp(row), 1e-5);
      expected.push_back({best, alone.Logprob(best), task.version->version, false});
      tokens.push_back(best);
    }
    const auto recorder = Submit(task);
    ASSERT_TRUE(recorder->Wait().ok());
    const std::vector<DrawnToken> drawn = recorder->tokens();
    ASSERT_EQ(drawn.size(), 30u);
    for (int i = 0; i < 30; ++i) {
      EXPECT_EQ(drawn[i].id, expected[i].id);
      EXPECT_EQ(drawn[i].logprob, expected[i].logprob) << "to the bit";
      EXPECT_EQ(drawn[i].offset_version, expected[i].offset_version);
    }
    EXPECT_FALSE(recorder->hit_end());
  }
}

// While a stream runs, too; an empty stack needs nothing, and what the pair refuses is handed on.
TEST_F(SchedulerTest, WarmReachesThePair) {
  class Backend : public CpuPairBackend {
   public:
    using CpuPairBackend::CpuPairBackend;
    bool needs_warming() const override { return true; }
    absl::Status Warm(const std::shared_ptr<const LoraStack>& stack) override {
      warmed.push_back(stack.get());
      return warmed.size() == 1 ? absl::OkStatus() : absl::ResourceExhaustedError("full");
    }
    std::vector<const LoraStack*> warmed;
  };
  auto made = std::make_unique<Backend>(base_, 32 * 512);
  const Backend& backend = *made;
  StartWith(std::move(made));
  const auto recorder = Submit(Task(2, Prompt(1, 9), 30));
  EXPECT_TRUE(scheduler_->Warm(versions_[0]->stack).ok());
  EXPECT_TRUE(scheduler_->Warm(versions_[2]->stack).ok());
  EXPECT_EQ(backend.warmed, std::vector<const LoraStack*>{versions_[2]->stack.get()});
  EXPECT_EQ(scheduler_->Warm(versions_[1]->stack).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(recorder->Wait().ok());
}

// A pass that lasts does not keep a version from going live where there is nothing to warm.
TEST_F(SchedulerTest, WarmCostsNothingOnTheCpu) {
  class Backend : public CpuPairBackend {
   public:
    using CpuPairBackend::CpuPairBackend;
    absl::StatusOr<PairRows> QueueRows(const TokenBatch& batch, absl::Span<const RowPair> wanted,
                                       absl::Span<const int64_t> drafting) override {
      go_on.WaitForNotification();
      return CpuPairBackend::QueueRows(batch, wanted, drafting);
    }
    absl::Notification go_on;
  };
  auto made = std::make_unique<Backend>(base_, 32 * 512);
  Backend& backend = *made;
  StartWith(std::move(made));
  const auto recorder = Submit(Task(2, Prompt(1, 9), 3));
  upstream_.WaitForAnswers(1);  // the pass has begun, or will
  EXPECT_TRUE(scheduler_->Warm(versions_[1]->stack).ok());
  EXPECT_FALSE(recorder->ended());
  backend.go_on.Notify();
  EXPECT_TRUE(recorder->Wait().ok());
}

TEST_F(SchedulerTest, TokensAreTheEnsembles) {
  Start();
  const StreamTask task = Task(2, Prompt(1, 9), 30);
  const std::vector<DrawnToken> expected = Expected(task);
  const auto recorder = Submit(task);
  ASSERT_TRUE(recorder->Wait().ok());
  ExpectSame(recorder->tokens(), expected);
  StreamTask of_m = task;
  of_m.alpha = 0;
  const std::vector<DrawnToken> ms_own = Expected(of_m);
  EXPECT_GT(std::abs(ms_own[0].logprob - expected[0].logprob), 0.01);
  EXPECT_FALSE(std::equal(ms_own.begin(), ms_own.end(), expected.begin(),
                          [](const auto& a, const auto& b) { return a.id == b.id; }))
      << "delta is too small for this test to show anything";
  const StreamTiming timing = recorder->timing();
  EXPECT_GT(timing.first_token, absl::ZeroDuration());
  EXPECT_LE(timing.first_token, timing.total);
}

// Streams of all versions, prompts longer than a pass of the pair, greedy and sampled, at once.
TEST_F(SchedulerTest, TwentyStreamsEqualSingles) {
  std::vector<StreamTask> tasks;
  for (int i = 0; i < 20; ++i) {
    StreamTask task = Task(i % 3, Prompt(i, 1 + i * i % 37), 4 + i);
    task.seed = 100 + i;
    if (i % 2 == 1) task.sampling.temperature = 2.0f;
    if (i % 4 == 3) task.sampling.top_p = 0.8f;
    tasks.push_back(task);
  }
  Scheduler::Options options;
  options.pair_tokens_per_pass = 8;
  Start(options);
  std::vector<std::shared_ptr<Recorder>> together;
  for (const StreamTask& task : tasks) together.push_back(Submit(task));
  for (const auto& recorder : together) ASSERT_TRUE(recorder->Wait().ok());
  Start();
  for (size_t i = 0; i < tasks.size(); ++i) {
    SCOPED_TRACE(i);
    const auto alone = Submit(tasks[i]);
    ASSERT_TRUE(alone->Wait().ok());
    ExpectSame(together[i]->tokens(), alone->tokens());
    ExpectSame(together[i]->tokens(), Expected(tasks[i]));
  }
  EXPECT_EQ(upstream_.open_sessions(), 0);
  EXPECT_EQ(metrics_.streams_running.Value(), 0);
  EXPECT_EQ(metrics_.streams_finished.Value(), 40);
  EXPECT_EQ(metrics_.streams_failed.Value(), 0);
}

TEST_F(SchedulerTest, TheSeedDecidesNotTheBatch) {
  Start();
  StreamTask task = Task(1, Prompt(3, 12), 40);
  task.sampling.temperature = 5.0f;
  task.seed = 7;
  const auto alone = Submit(task);
  ASSERT_TRUE(alone->Wait().ok());
  std::vector<std::shared_ptr<Recorder>> others;
  for (int i = 0; i < 5; ++i) others.push_back(Submit(Task(i % 3, Prompt(i, 40), 30)));
  const auto shared = Submit(task);
  for (int i = 5; i < 10; ++i) others.push_back(Submit(Task(i % 3, Prompt(i, 3), 50)));
  StreamTask reseeded = task;
  reseeded.seed = 8;
  const auto other_seed = Submit(reseeded);
  ASSERT_TRUE(shared->Wait().ok());
  ASSERT_TRUE(other_seed->Wait().ok());
  ExpectSame(shared->tokens(), alone->tokens());
  EXPECT_NE(other_seed->ids(), alone->ids());
  for (const auto& other : others) EXPECT_TRUE(other->Wait().ok());
}

// A long prompt is run in pieces, so that a running stream never waits for more than a piece of it.
TEST_F(SchedulerTest, APrefillDoesNotStallRunningStreams) {
  Scheduler::Options options;
  options.pair_tokens_per_pass = 8;
  Start(options);
  const auto running = Submit(Task(1, Prompt(1, 4), 100));
  running->WaitForTokens(1);
  const auto prefilled = Submit(Task(2, Prompt(2, 200), 1));
  ASSERT_TRUE(prefilled->Wait().ok());
  ASSERT_TRUE(running->Wait().ok());
  const prometheus::ClientMetric::Histogram passes = metrics_.pair_rows.Collect().histogram;
  EXPECT_EQ(passes.sample_sum, 4 + 99 + 200);
  for (const auto& bucket : passes.bucket) {
    // No pass held more than eight tokens.
    if (bucket.upper_bound >= 8) {
      EXPECT_EQ(bucket.cumulative_count, passes.sample_count) << bucket.upper_bound;
    }
  }
}

// Prompts that begin alike run once for each tenant, whatever the version; the tokens and their
// log-probs are those of a prompt that ran whole, bit for bit.
TEST_F(SchedulerTest, KnownPromptsGiveTheSameTokens) {
  StreamTask first = Task(1, Prompt(3, 70), 30);
  first.sampling.temperature = 2.0f;
  StreamTask second = first;
  second.prompt = Prompt(3, 75);
  second.prompt[60] = (second.prompt[60] + 1) % kVocab;
  StreamTask newer = second;
  newer.version = versions_[2];
  newer.alpha = newer.version->alpha;
  StreamTask other_tenant = second;
  other_tenant.tenant = "another";
  const auto run = [&](const StreamTask& task) {
    const auto recorder = Submit(task);
    EXPECT_TRUE(recorder->Wait().ok());
    return recorder->tokens();
  };
  const auto known = [&] { return metrics_.known_prompt_tokens.Value(); };
  const auto expect_equal = [](const std::vector<DrawnToken>& a, const std::vector<DrawnToken>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].id, b[i].id) << i;
      EXPECT_EQ(a[i].logprob, b[i].logprob) << i;
    }
  };
  Start();
  const auto alone = run(second);
  Start();
  const auto newer_alone = run(newer);
  EXPECT_EQ(known(), 0);
  Start();
  run(first);
  expect_equal(run(second), alone);
  EXPECT_EQ(known(), 48);
  expect_equal(run(newer), newer_alone);
  EXPECT_EQ(known(), 48);  // the reference's pages alone save its rows, not the step
  expect_equal(run(newer), newer_alone);
  EXPECT_EQ(known(), 48 + 64);
  expect_equal(run(other_tenant), alone);
  EXPECT_EQ(known(), 48 + 64);
}

TEST_F(SchedulerTest, PaddedRowsAreNeverDrawn) {
  Scheduler::Options options;
  options.tokens = 10;
  Start(options);
  EXPECT_EQ(scheduler_->vocab_size(), 10);
  StreamTask task = Task(1, Prompt(3, 12), 200);
  task.sampling.temperature = 50.0f;  // all but uniform
  const auto recorder = Submit(task);
  ASSERT_TRUE(recorder->Wait().ok());
  for (const int32_t id : recorder->ids()) EXPECT_LT(id, 10);
  const auto tokens = recorder->tokens();
  ASSERT_FALSE(tokens.empty());
}

TEST_F(SchedulerTest, ScoresAreTheLogprobsOfGeneration) {
  Start();
  for (const int length : {1, 2, 64, 65, 66, 150}) {
    StreamTask task = Task(2, Prompt(4, 11), length);
    task.sampling.temperature = 1.0f;
    const auto generated = Submit(task);
    ASSERT_TRUE(generated->Wait().ok());
    StreamTask score = Task(2, task.prompt, 0);
    score.forced = generated->ids();
    ASSERT_EQ(score.forced.size(), length);
    const auto scored = Submit(score);
    ASSERT_TRUE(scored->Wait().ok());
    ExpectSame(scored->tokens(), generated->tokens());
  }
}

// More rows than the slots hold are wanted at once: every stream comes to its end, with the tokens
// that it has alone.
TEST_F(SchedulerTest, ManyScoresShareTheSlots) {
  Scheduler::Options options;
  options.max_streams = 12;
  Start(options);
  StreamTask task = Task(2, Prompt(4, 11), 150);
  task.sampling.temperature = 1.0f;
  const auto generated = Submit(task);
  ASSERT_TRUE(generated->Wait().ok());
  for (int round = 0; round < 2; ++round) {
    std::vector<std::shared_ptr<Recorder>> scored;
    upstream_.Hold();
    for (int i = 0; i < 11; ++i) {
      StreamTask score = Task(2, task.prompt, 0);
      score.forced = generated->ids();
      score.forced.resize(150 - 10 * i);
      scored.push_back(Submit(score));
    }
    const auto between = Submit(task);
    upstream_.WaitForHeld(12);
    upstream_.Release();
    for (int i = 0; i < 11; ++i) {
      ASSERT_TRUE(scored[i]->Wait().ok());
      std::vector<DrawnToken> expected = generated->tokens();
      expected.resize(150 - 10 * i);
      ExpectSame(scored[i]->tokens(), expected);
    }
    ASSERT_TRUE(between->Wait().ok());
    ExpectSame(between->tokens(), generated->tokens());
  }
}

TEST_F(SchedulerTest, AnEndTokenEndsTheStream) {
  Start();
  StreamTask task = Task(1, Prompt(5, 4), 30);
  const std::vector<DrawnToken> expected = Expected(task);
  const int32_t end = expected[6].id;
  size_t first = 0;
  while (expected[first].id != end) ++first;
  task.end_ids = {kVocab - 1 == end ? 0 : kVocab - 1, end};
  const auto ended = Submit(task);
  ASSERT_TRUE(ended->Wait().ok());
  // The other id may come first; what counts is that the last token is the only end.
  const std::vector<DrawnToken> drawn = ended->tokens();
  ASSERT_LE(drawn.size(), first + 1);
  for (size_t i = 0; i < drawn.size(); ++i) EXPECT_EQ(drawn[i].is_end, i + 1 == drawn.size());
  EXPECT_TRUE(ended->hit_end());

  task.end_ids.clear();
  auto recorder = std::make_shared<Recorder>();
  recorder->stop_after = end;
  ASSERT_TRUE(scheduler_->Submit(task, recorder).ok());
  ASSERT_TRUE(recorder->Wait().ok());
  EXPECT_EQ(recorder->tokens().size(), first + 1);
  EXPECT_FALSE(recorder->tokens().back().is_end);
  EXPECT_TRUE(recorder->hit_end());
}

TEST_F(SchedulerTest, IdsThatMExcludesAreNeverDrawn) {
  upstream_.change_answer = [](const auto&, absl::StatusOr<UpstreamLogits>& answer) {
    for (int i = 0; i < kVocab; ++i) {
      if (i % 4 != 1) answer->logits[i] = -INFINITY;
    }
  };
  Start();
  StreamTask task = Task(2, Prompt(6, 5), 60);
  task.sampling.temperature = 10.0f;
  const auto recorder = Submit(task);
  ASSERT_TRUE(recorder->Wait().ok());
  for (const int32_t id : recorder->ids()) EXPECT_EQ(id % 4, 1);
}

}  // namespace
}  // namespace unlearn
