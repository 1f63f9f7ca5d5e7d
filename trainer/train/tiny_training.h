#ifndef TRAINER_TRAIN_TINY_TRAINING_H_
#define TRAINER_TRAIN_TINY_TRAINING_H_

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "offset/model/checkpoint.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "offset/text/tokenizer.h"
#include "proxy/upstream/local_upstream.h"
#include "proxy/upstream/testing/tiny_model.h"
#include "trainer/queue/sealed_folder.h"
#include "trainer/train/top_upstream.h"

namespace unlearn {

// Passes everything on to M and counts; answers can be changed. For tests only.
class CountingUpstream : public Upstream {
 public:
  explicit CountingUpstream(Upstream* model) : model_(model), info_(model->info()) {}

  const UpstreamInfo& info() const override { return info_; }
  UpstreamInfo& mutable_info() { return info_; }
  absl::StatusOr<UpstreamInfo> Probe() override { return info_; }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override {
    ++sessions;
    if (!refuse.ok()) return refuse;
    absl::StatusOr<std::unique_ptr<UpstreamSession>> session = model_->NewSession();
    if (!session.ok()) return session.status();
    return std::unique_ptr<UpstreamSession>(std::make_unique<Session>(this, *std::move(session)));
  }

  std::atomic<int> sessions{0};
  absl::Status refuse;
  // Called on M's thread, perhaps for several sessions in turn; set before use.
  std::function<void(absl::StatusOr<UpstreamLogits>&)> change_answer;

 private:
  class Session : public UpstreamSession {
   public:
    Session(CountingUpstream* owner, std::unique_ptr<UpstreamSession> session)
        : owner_(owner), session_(std::move(session)) {}
    void Step(UpstreamStep step, Callback done) override {
      session_->Step(std::move(step), [owner = owner_, done = std::move(done)](
                                          absl::StatusOr<UpstreamLogits> answer) mutable {
        if (owner->change_answer) owner->change_answer(answer);
        done(std::move(answer));
      });
    }

   private:
    CountingUpstream* const owner_;
    std::unique_ptr<UpstreamSession> session_;
  };

  Upstream* const model_;
  UpstreamInfo info_;
};

// A tiny M in this process, a tiny base of its pair (with fewer rows: M's are padded), a tokenizer
// and a sealed working folder.
class TinyTrainingTest : public testing::Test {
 protected:
  static constexpr int kVocab = 300;       // of the pair
  static constexpr int kModelVocab = 304;  // of M

  void SetUp() override {
    // The models are far too small to be worth a hand-over between threads.
    at::set_num_threads(1);
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    root_ = absl::StrCat(testing::TempDir(), "/", name, "_", getpid());
    TinyModelOptions large;
    large.vocab_size = kModelVocab;
    large.padded_rows = kModelVocab - kVocab;
    ASSERT_TRUE(WriteTinyModel(root_ + "/model", large).ok());
    TinyModelOptions small;
    small.hidden = 16;
    small.seed = 2;
    ASSERT_TRUE(WriteTinyModel(root_ + "/pair", small).ok());
    model_ = LocalUpstream::Open(root_ + "/model", UpstreamOptions()).value();
    counted_ = std::make_unique<CountingUpstream>(model_.get());
    base_ = Decoder::Load(*Checkpoint::Open(root_ + "/pair").value(), at::kFloat).value();
    tokenizer_ = Tokenizer::Load(root_ + "/pair/tokenizer.json").value();
  }
  void TearDown() override { ASSERT_TRUE(ShredFolder(root_).ok()); }

  // From now on M tells its most likely tokens only, `top` of them or up to `most` where more are
  // asked for.
  void TellTops(int32_t top, int32_t most) {
    tops_ = std::make_unique<TopUpstream>(model_.get(), kVocab, top, most);
    counted_ = std::make_unique<CountingUpstream>(tops_.get());
  }

  SealedFolder Work(const std::string& name = "work") {
    return SealedFolder(absl::StrCat(root_, "/", name), key_);
  }

  // An adapter whose B is not zero.
  LoraAdapter Trained(uint64_t seed) {
    LoraAdapter adapter = LoraAdapter::Init(base_->config(), {2, 4}, seed);
    at::manual_seed(seed);
    for (auto& [name, tensor] : adapter.tensors()) {
      if (absl::StrContains(name, "lora_B")) tensor = at::randn_like(tensor) * 0.1;
    }
    return adapter;
  }
  std::shared_ptr<const LoraStack> Stack(uint64_t seed) {
    const LoraAdapter adapter = Trained(seed);
    const LoraAdapter* const adapters[] = {&adapter};
    return std::make_shared<const LoraStack>(FuseAdapters(base_->config(), adapters));
  }

  static bool Never() { return false; }

  std::string root_;
  const std::shared_ptr<const SealingKey> key_ =
      std::make_shared<const SealingKey>(SealingKey::Generate());
  std::unique_ptr<LocalUpstream> model_;
  std::unique_ptr<TopUpstream> tops_;  // where it tells these
  std::unique_ptr<CountingUpstream> counted_;
  std::shared_ptr<const Decoder> base_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

}  // namespace unlearn

#endif  // TRAINER_TRAIN_TINY_TRAINING_H_
