#include <algorithm>
#include <cmath>
#include <thread>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/scheduler/scheduler_test_util.h"

// How streams end and which are refused.
namespace unlearn {
namespace {

TEST_F(SchedulerTest, CancelEndsTheStreamAndNoOther) {
  Start();
  std::shared_ptr<Scheduler::Stream> stream;
  const StreamTask other_task = Task(1, Prompt(8, 4), 300);
  const auto cancelled = Submit(Task(2, Prompt(7, 4), 400), &stream);
  const auto other = Submit(other_task);
  cancelled->WaitForTokens(3);
  upstream_.Hold();
  scheduler_->Cancel(stream);
  EXPECT_EQ(cancelled->Wait().code(), absl::StatusCode::kCancelled);
  const size_t tokens = cancelled->tokens().size();
  EXPECT_LT(tokens, 400u);
  EXPECT_FALSE(other->ended());
  upstream_.Release();
  ASSERT_TRUE(other->Wait().ok());
  EXPECT_EQ(cancelled->tokens().size(), tokens);
  EXPECT_EQ(other->tokens().size(), 300u);
  scheduler_->Cancel(stream);  // once more, when it has ended
  EXPECT_EQ(metrics_.streams_failed.Value(), 1);
}

TEST_F(SchedulerTest, AnErrorOfMEndsItsStreamOnly) {
  const std::vector<int32_t> failing = Prompt(9, 6);
  upstream_.change_answer = [&](const std::vector<int32_t>& tokens,
                                absl::StatusOr<UpstreamLogits>& answer) {
    if (tokens.size() == failing.size() + 4 &&
        std::equal(failing.begin(), failing.end(), tokens.begin())) {
      answer = absl::UnavailableError("M went away");
    }
  };
  Start();
  const StreamTask task = Task(1, failing, 20);
  const auto failed = Submit(task);
  const auto other = Submit(Task(1, Prompt(10, 6), 20));
  EXPECT_EQ(failed->Wait(), absl::UnavailableError("M went away"));
  std::vector<DrawnToken> expected = Expected(task);
  expected.resize(4);
  ExpectSame(failed->tokens(), expected);
  ASSERT_TRUE(other->Wait().ok());
  EXPECT_EQ(other->tokens().size(), 20u);
  EXPECT_TRUE(scheduler_->StreamsByVersion().empty());
}

TEST_F(SchedulerTest, NoTokenComesFromLogitsThatAreNotNumbers) {
  int kind = 0;
  upstream_.change_answer = [&](const std::vector<int32_t>& tokens,
                                absl::StatusOr<UpstreamLogits>& answer) {
    if (tokens.size() != 7) return;
    switch (kind) {
      case 0:
        answer->logits[3] = NAN;
        break;
      case 1:
        answer->logits[3] = INFINITY;
        break;
      case 2:
        std::fill(answer->logits.begin(), answer->logits.begin() + kVocab, -INFINITY);
        break;
      case 3:
        answer->logits.pop_back();
        break;
      case 4:
        answer->logits.clear();
        break;
    }
  };
  for (kind = 0; kind < 5; ++kind) {
    for (const int version : {0, 1}) {
      Start();
      const auto at_once = Submit(Task(version, Prompt(11, 7), 5));
      EXPECT_EQ(at_once->Wait().code(), absl::StatusCode::kFailedPrecondition) << kind;
      EXPECT_TRUE(at_once->tokens().empty());
      const auto later = Submit(Task(version, Prompt(12, 5), 5));
      EXPECT_EQ(later->Wait().code(), absl::StatusCode::kFailedPrecondition) << kind;
      EXPECT_EQ(later->tokens().size(), 2u);
    }
  }
}

TEST_F(SchedulerTest, NoTokenComesFromAnOffsetThatIsNotFinite) {
  Add(3, 1.0, {5});
  auto broken = std::make_shared<ServedVersion>(*versions_.back());
  auto stack = std::make_shared<LoraStack>(*broken->stack);
  stack->layers[1].down.b = at::full_like(stack->layers[1].down.b, NAN);
  broken->stack = stack;
  versions_.push_back(broken);
  Start();
  const auto recorder = Submit(Task(4, Prompt(11, 7), 5));
  const auto other = Submit(Task(1, Prompt(11, 7), 5));
  EXPECT_EQ(recorder->Wait().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(recorder->tokens().empty());
  ASSERT_TRUE(other->Wait().ok());
  ExpectSame(other->tokens(), Expected(Task(1, Prompt(11, 7), 5)));
}

TEST_F(SchedulerTest, ModelWithTooSmallAVocabularyGivesNoToken) {
  FakeUpstream small(kVocab - 1, 0);
  const auto scheduler =
      Scheduler::Create(&small, std::make_unique<PairEngine>(base_, 1024), {}, &metrics_);
  ASSERT_TRUE(scheduler.ok()) << scheduler.status();
  auto recorder = std::make_shared<Recorder>();
  ASSERT_TRUE((*scheduler)->Submit(Task(1, Prompt(1, 3), 5), recorder).ok());
  EXPECT_EQ(recorder->Wait().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(recorder->tokens().empty());
}

TEST_F(SchedulerTest, WithoutASessionTheStreamEnds) {
  upstream_.on_new_session = [] { return absl::ResourceExhaustedError("M is full"); };
  Start();
  const auto recorder = Submit(Task(1, Prompt(1, 3), 5));
  EXPECT_EQ(recorder->Wait(), absl::ResourceExhaustedError("M is full"));
  EXPECT_TRUE(scheduler_->StreamsByVersion().empty());
}

TEST_F(SchedulerTest, RefusesMoreThanMaxStreams) {
  Scheduler::Options options;
  options.max_streams = 2;
  Start(options);
  upstream_.Hold();
  const auto first = Submit(Task(0, Prompt(1, 3), 5));
  const auto second = Submit(Task(1, Prompt(2, 3), 5));
  auto refused = std::make_shared<Recorder>();
  const absl::Status status = scheduler_->Submit(Task(1, Prompt(3, 3), 5), refused).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(status.message(), "--max_streams")) << status;
  EXPECT_EQ(metrics_.streams_refused.Value(), 1);
  upstream_.Release();
  ASSERT_TRUE(first->Wait().ok());
  ASSERT_TRUE(second->Wait().ok());
  EXPECT_TRUE(Submit(Task(1, Prompt(3, 3), 5))->Wait().ok());
  EXPECT_FALSE(refused->ended()) << "a refused stream has no end";
}

TEST_F(SchedulerTest, RefusesWhatTheCacheCannotHoldToTheEnd) {
  Start({}, /*pair_tokens=*/64);
  auto refused = std::make_shared<Recorder>();
  const absl::Status too_long = scheduler_->Submit(Task(1, Prompt(1, 20), 45), refused).status();
  EXPECT_EQ(too_long.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(too_long.message(), "--kv_cache_tokens")) << too_long;
  upstream_.Hold();
  const auto first = Submit(Task(1, Prompt(1, 20), 28));  // 48 positions
  const auto second = Submit(Task(2, Prompt(2, 10), 6));  // 16
  EXPECT_EQ(scheduler_->Submit(Task(1, Prompt(3, 1), 1), refused).status().code(),
            absl::StatusCode::kResourceExhausted);
  StreamTask score = Task(1, Prompt(3, 1), 0);
  score.forced = {1, 2, 3};
  EXPECT_EQ(scheduler_->Submit(score, refused).status().code(),
            absl::StatusCode::kResourceExhausted);
  upstream_.Release();
  // Whoever was admitted runs to the end, in full.
  ASSERT_TRUE(first->Wait().ok());
  ASSERT_TRUE(second->Wait().ok());
  EXPECT_EQ(first->tokens().size(), 28u);
  EXPECT_EQ(second->tokens().size(), 6u);
  const auto whole = Submit(Task(1, Prompt(1, 20), 44));
  ASSERT_TRUE(whole->Wait().ok());
  EXPECT_EQ(whole->tokens().size(), 44u);
  EXPECT_EQ(metrics_.streams_refused.Value(), 3);
}

TEST_F(SchedulerTest, CountsStreamsByVersion) {
  Start();
  EXPECT_TRUE(scheduler_->StreamsByVersion().empty());
  upstream_.Hold();
  const auto a = Submit(Task(1, Prompt(1, 3), 5));
  const auto b = Submit(Task(2, Prompt(2, 3), 5));
  std::shared_ptr<Scheduler::Stream> stream;
  const auto c = Submit(Task(1, Prompt(3, 3), 5), &stream);
  EXPECT_EQ(scheduler_->StreamsByVersion(), (std::map<uint64_t, int>{{1, 2}, {2, 1}}));
  scheduler_->Cancel(stream);
  EXPECT_EQ(c->Wait().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(scheduler_->StreamsByVersion(), (std::map<uint64_t, int>{{1, 1}, {2, 1}}));
  upstream_.Release();
  ASSERT_TRUE(a->Wait().ok());
  ASSERT_TRUE(b->Wait().ok());
  EXPECT_TRUE(scheduler_->StreamsByVersion().empty());
}

TEST_F(SchedulerTest, DestructionEndsRunningStreams) {
  Start();
  const auto running = Submit(Task(1, Prompt(1, 3), 400));
  running->WaitForTokens(2);
  upstream_.Hold();
  const auto waiting = Submit(Task(2, Prompt(2, 3), 5));
  scheduler_.reset();
  ASSERT_TRUE(running->ended());
  ASSERT_TRUE(waiting->ended());
  EXPECT_EQ(running->Wait().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(waiting->Wait().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(upstream_.open_sessions(), 0);
  EXPECT_EQ(metrics_.streams_running.Value(), 0);
}

TEST_F(SchedulerTest, DestructionEndsStreamsThatWereNotYetTakenIn) {
  absl::Notification opening, go_on;
  upstream_.on_new_session = [&] {
    if (!opening.HasBeenNotified()) opening.Notify();
    go_on.WaitForNotification();
    return absl::OkStatus();
  };
  Start();
  std::vector<std::shared_ptr<Recorder>> recorders = {Submit(Task(1, Prompt(1, 3), 400))};
  opening.WaitForNotification();
  recorders.push_back(Submit(Task(2, Prompt(2, 3), 5)));
  Scheduler* const scheduler = scheduler_.get();
  std::thread destruction([owned = std::move(scheduler_)]() mutable { owned.reset(); });
  // The scheduler's thread is still in NewSession; stopping shows in that Submit is refused.
  for (bool stopping = false; !stopping;) {
    auto recorder = std::make_shared<Recorder>();
    const absl::Status status = scheduler->Submit(Task(1, Prompt(3, 3), 5), recorder).status();
    stopping = status.code() == absl::StatusCode::kUnavailable;
    if (status.ok()) recorders.push_back(recorder);
    std::this_thread::yield();
  }
  go_on.Notify();
  destruction.join();
  for (const auto& recorder : recorders) {
    ASSERT_TRUE(recorder->ended());
    EXPECT_EQ(recorder->Wait().code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(recorder->tokens().empty());
  }
  EXPECT_EQ(metrics_.streams_running.Value(), 0);
  EXPECT_EQ(upstream_.open_sessions(), 0);
}

}  // namespace
}  // namespace unlearn
