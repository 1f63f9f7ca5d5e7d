#ifndef PROXY_SCHEDULER_SCHEDULER_TEST_UTIL_H_
#define PROXY_SCHEDULER_SCHEDULER_TEST_UTIL_H_

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <functional>
#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "offset/combine/combiner.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "offset/model/test_stacks.h"
#include "offset/pair/cpu_pair_backend.h"
#include "proxy/scheduler/fake_upstream.h"
#include "proxy/scheduler/scheduler.h"

namespace unlearn {

inline constexpr int kVocab = 48;
inline constexpr int kPaddedRows = 5;  // of M
inline constexpr double kTolerance = 1e-4;

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

inline std::shared_ptr<const Decoder> MakeBase() {
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

// A scheduler over a fake M and a tiny pair: version 0 is empty, 1 and 2 have adapters.
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
      adapters.push_back(TestAdapter(base_->config(), {3, 6}, seed, 0.3));
    }
    auto served = std::make_shared<ServedVersion>();
    served->version = version;
    served->alpha = alpha;
    served->stack = FuseTestAdapters(base_->config(), adapters);
    versions_.push_back(served);
  }

  void Start(const Scheduler::Options& options = {}, int64_t pair_tokens = 32 * 512) {
    StartWith(make_backend_(2 * pair_tokens), options);
  }
  void StartWith(std::unique_ptr<PairBackend> backend, const Scheduler::Options& options = {}) {
    auto made = Scheduler::Create(&upstream_, std::make_unique<PairEngine>(std::move(backend)),
                                  options, &metrics_);
    ASSERT_TRUE(made.ok()) << made.status();
    scheduler_ = *std::move(made);
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
  // Where the pair runs.
  std::function<std::unique_ptr<PairBackend>(int64_t kv_cache_tokens)> make_backend_ =
      [this](int64_t kv_cache_tokens) {
        return std::make_unique<CpuPairBackend>(base_, kv_cache_tokens);
      };
  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace unlearn

#endif  // PROXY_SCHEDULER_SCHEDULER_TEST_UTIL_H_
