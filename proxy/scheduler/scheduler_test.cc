#include "proxy/scheduler/scheduler.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "offset/combine/combiner.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "proxy/scheduler/fake_upstream.h"

namespace unlearn {
namespace {

constexpr int kVocab = 48;
constexpr int kPaddedRows = 5;  // of M
constexpr double kTolerance = 1e-4;

// Keeps what a stream gives.
class Recorder : public StreamSink {
 public:
  bool OnToken(const DrawnToken& token) override {
    absl::MutexLock lock(&mutex_);
    EXPECT_FALSE(ended_) << "a token after the end";
    tokens_.push_back(token);
    return token.id != stop_after;
  }
  void OnDone(const absl::Status& status, bool hit_end, const StreamTiming& timing) override {
    absl::MutexLock lock(&mutex_);
    EXPECT_FALSE(ended_) << "ended twice";
    ended_ = true;
    status_ = status;
    hit_end_ = hit_end;
    timing_ = timing;
  }

  // Waits for the end.
  absl::Status Wait() {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&ended_), absl::Seconds(60)));
    return ended_ ? status_ : absl::DeadlineExceededError("the stream did not end");
  }
  void WaitForTokens(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, count] { return tokens_.size() >= count || ended_; };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(60)));
  }
  std::vector<DrawnToken> tokens() const {
    absl::MutexLock lock(&mutex_);
    return tokens_;
  }
  std::vector<int32_t> ids() const {
    std::vector<int32_t> ids;
    for (const DrawnToken& token : tokens()) ids.push_back(token.id);
    return ids;
  }
  bool ended() const {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }
  bool hit_end() const {
    absl::MutexLock lock(&mutex_);
    return hit_end_;
  }
  StreamTiming timing() const {
    absl::MutexLock lock(&mutex_);
    return timing_;
  }

  int32_t stop_after = -1;  // OnToken says false after this id

 private:
  mutable absl::Mutex mutex_;
  std::vector<DrawnToken> tokens_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool hit_end_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  StreamTiming timing_ ABSL_GUARDED_BY(mutex_);
};

std::shared_ptr<const Decoder> MakeBase() {
  ModelConfig config;
  config.vocab_size = kVocab;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 4;
  config.max_positions = 512;
  std::unique_ptr<Decoder> base = Decoder::Init(config, 1);
  // Larger than fresh weights, so that logits and delta are of the size of a trained pair's.
  for (at::Tensor parameter : base->Parameters()) {
    if (parameter.dim() == 2) parameter.mul_(15);
  }
  return base;
}

class SchedulerTest : public testing::Test {
 protected:
  // The model is far too small to be worth a hand-over between threads.
  static void SetUpTestSuite() { at::set_num_threads(1); }

  SchedulerTest() : base_(MakeBase()) {
    Add(0, 1.0, {});
    Add(1, 1.0, {1});
    Add(2, 1.5, {1, 2});
  }

  void Add(uint64_t version, double alpha, const std::vector<uint64_t>& seeds) {
    std::vector<LoraAdapter> adapters;
    for (const uint64_t seed : seeds) {
      adapters.push_back(LoraAdapter::Init(base_->config(), {3, 6}, seed));
      at::manual_seed(seed);
      for (auto& [name, tensor] : adapters.back().tensors()) {
        if (absl::StrContains(name, "lora_B")) tensor = at::randn_like(tensor) * 0.3;
      }
    }
    std::vector<const LoraAdapter*> pointers;
    for (const LoraAdapter& adapter : adapters) pointers.push_back(&adapter);
    auto served = std::make_shared<ServedVersion>();
    served->version = version;
    served->alpha = alpha;
    served->stack = std::make_shared<const LoraStack>(FuseAdapters(base_->config(), pointers));
    versions_.push_back(served);
  }

  void Start(const Scheduler::Options& options = {}, int64_t pair_tokens = 32 * 512) {
    scheduler_ = std::make_unique<Scheduler>(
        &upstream_, std::make_unique<PairEngine>(base_, 2 * pair_tokens), options, &metrics_);
  }

  StreamTask Task(int version, std::vector<int32_t> prompt, int32_t max_tokens) {
    StreamTask task;
    task.prompt = std::move(prompt);
    task.version = versions_[version];
    task.alpha = task.version->alpha;
    task.max_tokens = max_tokens;
    return task;
  }

  static std::vector<int32_t> Prompt(int seed, int length) {
    std::vector<int32_t> prompt;
    for (int i = 0; i < length; ++i) prompt.push_back((seed * 31 + i * i * 7 + i) % kVocab);
    return prompt;
  }

  std::shared_ptr<Recorder> Submit(const StreamTask& task,
                                   std::shared_ptr<Scheduler::Stream>* stream = nullptr) {
    auto recorder = std::make_shared<Recorder>();
    auto submitted = scheduler_->Submit(task, recorder);
    EXPECT_TRUE(submitted.ok()) << submitted.status();
    if (submitted.ok() && stream != nullptr) *stream = *submitted;
    return recorder;
  }

  // What the stream must give: the lockstep written down naively, with two whole forwards a token.
  std::vector<DrawnToken> Expected(const StreamTask& task) {
    std::vector<int32_t> tokens = task.prompt;
    std::vector<DrawnToken> drawn;
    std::vector<float> ensemble(kVocab);
    while (drawn.size() < task.max_tokens) {
      const std::vector<float> model = upstream_.Row(tokens);
      const at::Tensor ids =
          at::tensor(at::ArrayRef<int32_t>(tokens), at::TensorOptions(at::kLong)).unsqueeze(0);
      const at::Tensor delta = (base_->Logits(base_->Forward(ids, *task.version->stack)) -
                                base_->Logits(base_->Forward(ids, LoraStack())))[0][-1]
                                   .contiguous();
      EXPECT_TRUE(Combine(absl::MakeConstSpan(model).subspan(0, kVocab),
                          absl::MakeConstSpan(delta.data_ptr<float>(), kVocab), task.alpha,
                          absl::MakeSpan(ensemble))
                      .ok());
      const SampledToken sampled = SampleToken(
          ensemble, task.sampling, {task.seed, 0, static_cast<uint32_t>(tokens.size())});
      drawn.push_back({sampled.id, sampled.logprob, task.version->version, false});
      tokens.push_back(sampled.id);
    }
    return drawn;
  }

  static void ExpectSame(const std::vector<DrawnToken>& tokens,
                         const std::vector<DrawnToken>& expected) {
    ASSERT_EQ(tokens.size(), expected.size());
    for (size_t i = 0; i < tokens.size(); ++i) {
      EXPECT_EQ(tokens[i].id, expected[i].id) << i;
      EXPECT_NEAR(tokens[i].logprob, expected[i].logprob, kTolerance) << i;
      EXPECT_EQ(tokens[i].offset_version, expected[i].offset_version) << i;
    }
  }

  FakeUpstream upstream_{kVocab + kPaddedRows, kPaddedRows};
  const std::shared_ptr<const Decoder> base_;
  std::vector<std::shared_ptr<const ServedVersion>> versions_;
  prometheus::Registry registry_;
  SchedulerMetrics metrics_{registry_};
  std::unique_ptr<Scheduler> scheduler_;
};

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
      expected.push_back(
          {best, static_cast<float>(row[best] - LogSumExp(row)), task.version->version, false});
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
  Scheduler scheduler(&small, std::make_unique<PairEngine>(base_, 1024), {}, &metrics_);
  auto recorder = std::make_shared<Recorder>();
  ASSERT_TRUE(scheduler.Submit(Task(1, Prompt(1, 3), 5), recorder).ok());
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
