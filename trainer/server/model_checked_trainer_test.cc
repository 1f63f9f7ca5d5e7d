#include "trainer/server/model_checked_trainer.h"

#include <unistd.h>

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "offset/model/checkpoint.h"
#include "proxy/upstream/fingerprint/model_fingerprint.h"
#include "proxy/upstream/testing/tiny_model.h"

namespace unlearn {
namespace {

class CountingTrainer : public OffsetTrainer {
 public:
  absl::StatusOr<TrainingOutcome> Train(const TrainingJob&, SealedFolder&,
                                        const std::function<void(const TrainingProgress&)>&,
                                        const std::function<bool()>&) override {
    ++calls;
    return TrainingOutcome();
  }
  int calls = 0;
};

class ModelCheckedTrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "/model_checked_", getpid());
    TinyModelOptions options;
    ASSERT_TRUE(WriteTinyModel(folder_ + "/m", options).ok());
    options.seed = 2;
    ASSERT_TRUE(WriteTinyModel(folder_ + "/pair", options).ok());
    options.seed = 3;
    ASSERT_TRUE(WriteTinyModel(folder_ + "/other", options).ok());
    model_ = OpenUpstream("local:" + folder_ + "/m", {}).value();
    pair_.pair_fingerprint = Checkpoint::Open(folder_ + "/pair").value()->Fingerprint();
    pair_.tokenizer_fingerprint = model_->info().tokenizer_fingerprint;
    store_ = VersionStore::Create(folder_ + "/store", SealingKey::Generate()).value();
  }
  void TearDown() override { ASSERT_TRUE(ShredFolder(folder_).ok()); }

  void Init() {
    v1::Manifest draft;
    *draft.mutable_model_fingerprint() = TakeModelFingerprint(*model_).value();
    draft.set_model_id(model_->info().model_id);
    draft.set_tokenizer_fingerprint(pair_.tokenizer_fingerprint);
    draft.set_pair_fingerprint(pair_.pair_fingerprint);
    draft.set_vocab_size(model_->info().vocab_size);
    draft.set_alpha(1);
    draft.set_combiner("delta");
    ASSERT_TRUE(store_->InitVersionZero(draft).ok());
    ASSERT_TRUE(store_->Activate(0, {}, "test").ok());
  }

  absl::Status Train(Upstream* upstream, const PairIdentity& pair) {
    ModelCheckedTrainer checked(&trainer_, upstream, store_.get(), pair);
    SealedFolder work(folder_ + "/work",
                      std::make_shared<const SealingKey>(SealingKey::Generate()));
    return checked
        .Train(
            TrainingJob(), work, [](const TrainingProgress&) {}, [] { return false; })
        .status();
  }

  std::string folder_;
  std::unique_ptr<Upstream> model_;
  PairIdentity pair_;
  std::unique_ptr<VersionStore> store_;
  CountingTrainer trainer_;
};

TEST_F(ModelCheckedTrainerTest, TrainsForTheStoresOwnModelAndPair) {
  Init();
  EXPECT_TRUE(Train(model_.get(), pair_).ok());
  EXPECT_EQ(trainer_.calls, 1);
}

TEST_F(ModelCheckedTrainerTest, AnotherModelIsRefusedBeforeTraining) {
  Init();
  const auto other = OpenUpstream("local:" + folder_ + "/other", {}).value();
  EXPECT_EQ(Train(other.get(), pair_).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(trainer_.calls, 0);
}

TEST_F(ModelCheckedTrainerTest, AnotherPairOrTokenizerIsRefusedByName) {
  Init();
  PairIdentity pair = pair_;
  pair.pair_fingerprint = "0123456789abcdef";
  absl::Status status = Train(model_.get(), pair);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "--pair has the fingerprint 0123456789ab"));
  pair = pair_;
  pair.tokenizer_fingerprint = "fedcba9876543210";
  status = Train(model_.get(), pair);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "tokenizer of --pair"));
  EXPECT_EQ(trainer_.calls, 0);
}

TEST_F(ModelCheckedTrainerTest, WithoutAnActiveVersionNothingIsTrained) {
  EXPECT_EQ(Train(model_.get(), pair_).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(trainer_.calls, 0);
}

}  // namespace
}  // namespace unlearn
