#include <algorithm>
#include <cmath>

#include "absl/synchronization/notification.h"
#include "offset/cuda/device_pair_backend.h"
#include "offset/cuda/emulated_runtime.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/scheduler/scheduler_test_util.h"

// The scheduler over the pair and the drawer of a GPU, which the CPU emulates: tokens are drawn
// where delta is. Held against the scheduler on the CPU.
namespace unlearn {
namespace {

constexpr int64_t kFewTokens = 4 * 512;  // of the cache

class DeviceSchedulerTest : public SchedulerTest {
 protected:
  std::unique_ptr<PairBackend> MakeDevice(int64_t kv_cache_tokens) {
    DevicePairBackend::Options options;
    options.kv_cache_tokens = kv_cache_tokens;
    options.dtype = at::kFloat;
    options.graph_rows = 4;
    auto backend = DevicePairBackend::Make(MakeEmulatedRuntime(), *base_, options);
    EXPECT_TRUE(backend.ok()) << backend.status();
    return *std::move(backend);
  }
  static Scheduler::Options Few() {
    Scheduler::Options options;
    options.max_streams = 8;
    options.pair_tokens_per_pass = 16;
    return options;
  }

  struct Result {
    absl::Status status;
    std::vector<DrawnToken> tokens;
  };
  // All tasks at once, on the GPU or the CPU.
  std::vector<Result> RunAll(const std::vector<StreamTask>& tasks, bool on_gpu) {
    StartWith(on_gpu ? MakeDevice(2 * kFewTokens) : make_backend_(2 * kFewTokens), Few());
    if (on_gpu) {
      for (const auto& version : versions_) EXPECT_TRUE(scheduler_->Warm(version->stack).ok());
    }
    std::vector<std::shared_ptr<Recorder>> recorders;
    for (const StreamTask& task : tasks) recorders.push_back(Submit(task));
    std::vector<Result> results;
    for (const auto& recorder : recorders) {
      Result result;
      result.status = recorder->Wait();
      result.tokens = recorder->tokens();
      results.push_back(result);
    }
    return results;
  }
  void ExpectTheCpus(const std::vector<StreamTask>& tasks) {
    const std::vector<Result> cpu = RunAll(tasks, false), gpu = RunAll(tasks, true);
    for (size_t i = 0; i < tasks.size(); ++i) {
      SCOPED_TRACE(i);
      EXPECT_EQ(gpu[i].status, cpu[i].status);
      ExpectSame(gpu[i].tokens, cpu[i].tokens);
    }
  }
};

// Every version, the empty one too, every warp, prompts longer than a pass.
TEST_F(DeviceSchedulerTest, TokensAreThoseOfTheCpu) {
  std::vector<StreamTask> tasks;
  for (int i = 0; i < 8; ++i) {
    StreamTask task = Task(i % 3, Prompt(i, 1 + i * i), 6 + i);
    task.seed = 100 + i;
    if (i % 2 == 1) task.sampling.temperature = 2.0f;
    if (i == 3) task.sampling.top_p = 0.8f;
    if (i == 5) task.sampling.min_p = 0.1f;
    if (i == 7) task.sampling.top_k = 7;
    tasks.push_back(task);
  }
  ExpectTheCpus(tasks);
}

TEST_F(DeviceSchedulerTest, ScoresAreThoseOfTheCpu) {
  std::vector<StreamTask> tasks;
  for (int i = 0; i < 6; ++i) {
    StreamTask task = Task(i % 3, Prompt(i, 5 + i), 0);
    task.forced = Prompt(i + 20, i == 0 ? 1 : 30 * i);
    tasks.push_back(task);
  }
  tasks.push_back(Task(2, Prompt(9, 4), 10));
  ExpectTheCpus(tasks);
}

// Rows of M and of the pair that are not finite, and rows of a wrong size: the CPU's errors to the
// letter, after the same tokens, and no other stream is touched.
TEST_F(DeviceSchedulerTest, ErrorsAreThoseOfTheCpuAndOfTheirStreamsOnly) {
  auto broken = std::make_shared<ServedVersion>(*versions_[1]);
  auto stack = std::make_shared<LoraStack>(*broken->stack);
  stack->layers[1].down.b = at::full_like(stack->layers[1].down.b, NAN);
  broken->version = 3;
  broken->stack = stack;
  versions_.push_back(broken);
  upstream_.change_answer = [](const std::vector<int32_t>& tokens,
                               absl::StatusOr<UpstreamLogits>& answer) {
    if (tokens.size() < 7) return;
    switch (tokens[0]) {
      case 0:
        answer->logits[answer->rows / 2 * (kVocab + kPaddedRows) + 3] = NAN;
        break;
      case 1:
        answer->logits[kVocab - 1] = INFINITY;
        break;
      case 2:
        std::fill(answer->logits.begin(), answer->logits.begin() + kVocab, -INFINITY);
        break;
      case 3:
        answer->logits.pop_back();
        break;
      case 4:
        answer = absl::UnavailableError("M went away");
        break;
    }
  };
  std::vector<StreamTask> tasks;
  for (int i = 0; i < 7; ++i) {
    StreamTask task = Task(i == 5 ? 3 : i % 3, Prompt(i, 4), 10);
    task.prompt[0] = i;
    if (i == 0) task.forced = Prompt(40, 12);  // in the middle of the rows of one answer
    tasks.push_back(task);
  }
  ExpectTheCpus(tasks);
  const std::vector<Result> gpu = RunAll(tasks, true);
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(gpu[i].status.ok()) << i;
  EXPECT_TRUE(gpu[6].status.ok()) << gpu[6].status;
  EXPECT_EQ(gpu[6].tokens.size(), 10u);
}

// A backend whose passes wait until they may go on.
class GatedBackend : public PairBackend {
 public:
  explicit GatedBackend(std::unique_ptr<PairBackend> backend) : backend_(std::move(backend)) {}
  const ModelConfig& config() const override { return backend_->config(); }
  KvPages& pages() override { return backend_->pages(); }
  absl::Status AddStack(const std::shared_ptr<const LoraStack>& stack) override {
    return backend_->AddStack(stack);
  }
  bool needs_warming() const override { return backend_->needs_warming(); }
  absl::Status Warm(const std::shared_ptr<const LoraStack>& stack) override {
    return backend_->Warm(stack);
  }
  absl::StatusOr<at::Tensor> Differences(const TokenBatch& batch,
                                         absl::Span<const RowPair> wanted) override {
    return backend_->Differences(batch, wanted);
  }
  absl::StatusOr<at::Tensor> Deltas(const TokenBatch& batch,
                                    absl::Span<const RowPair> wanted) override {
    return backend_->Deltas(batch, wanted);
  }
  absl::StatusOr<PairRows> QueueRows(const TokenBatch& batch, absl::Span<const RowPair> wanted,
                                     absl::Span<const int64_t> drafting) override {
    go_on.WaitForNotification();
    return backend_->QueueRows(batch, wanted, drafting);
  }
  absl::StatusOr<std::unique_ptr<EnsembleDrawer>> MakeDrawer(int64_t tokens, int slots) override {
    return backend_->MakeDrawer(tokens, slots);
  }
  absl::Notification go_on;

 private:
  const std::unique_ptr<PairBackend> backend_;
};

// M's row lies in the slot when its stream is cancelled; the next stream has the slot to itself.
TEST_F(DeviceSchedulerTest, CancelledWhileStaged) {
  for (const bool on_gpu : {false, true}) {
    SCOPED_TRACE(on_gpu);
    auto gated = std::make_unique<GatedBackend>(on_gpu ? MakeDevice(2 * kFewTokens)
                                                       : make_backend_(2 * kFewTokens));
    GatedBackend& gate = *gated;
    Scheduler::Options options;
    options.max_streams = 1;
    FakeUpstream upstream(kVocab + kPaddedRows, kPaddedRows);
    auto scheduler = Scheduler::Create(&upstream, std::make_unique<PairEngine>(std::move(gated)),
                                       options, &metrics_);
    ASSERT_TRUE(scheduler.ok()) << scheduler.status();
    const auto cancelled = std::make_shared<Recorder>();
    const auto stream = (*scheduler)->Submit(Task(1, Prompt(1, 4), 400), cancelled);
    ASSERT_TRUE(stream.ok()) << stream.status();
    upstream.WaitForAnswers(1);
    (*scheduler)->Cancel(*stream);
    gate.go_on.Notify();
    EXPECT_EQ(cancelled->Wait().code(), absl::StatusCode::kCancelled);
    EXPECT_TRUE(cancelled->tokens().empty());
    for (int i = 0; i < 3; ++i) {
      const StreamTask task = Task(2 * (i % 2), Prompt(2 + i, 5), 3);
      auto next = std::make_shared<Recorder>();
      const absl::Status submitted = (*scheduler)->Submit(task, next).status();
      ASSERT_TRUE(submitted.ok()) << submitted;
      ASSERT_TRUE(next->Wait().ok());
      ExpectSame(next->tokens(), Expected(task));
    }
  }
}

// M answers while streams end and begin, again and again: no row lands in another stream's slot.
TEST_F(DeviceSchedulerTest, CancelledAtAnyTime) {
  StartWith(MakeDevice(2 * kFewTokens), Few());
  const StreamTask steady = Task(2, Prompt(30, 6), 40);
  const auto expected = Expected(steady);
  const auto recorder = Submit(steady);
  for (int i = 0; i < 30; ++i) {
    std::shared_ptr<Scheduler::Stream> stream;
    StreamTask task = Task(i % 3, Prompt(i, 5), 100);
    if (i % 4 == 3) task.forced = Prompt(i, 90);
    const auto other = Submit(task, &stream);
    other->WaitForTokens(i % 3);
    scheduler_->Cancel(stream);
    other->Wait().IgnoreError();
  }
  ASSERT_TRUE(recorder->Wait().ok());
  ExpectSame(recorder->tokens(), expected);
}

}  // namespace
}  // namespace unlearn
