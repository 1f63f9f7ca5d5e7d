#include "trainer/train/quality_gate.h"

#include <algorithm>
#include <string>

#include "trainer/train/tiny_training.h"

namespace unlearn {
namespace {

// M here says "kkk…" to everything, as long as an answer may be; that is the secret.
class QualityGateTest : public TinyTrainingTest {
 protected:
  void SetUp() override {
    TinyTrainingTest::SetUp();
    counted_->change_answer = [](absl::StatusOr<UpstreamLogits>& answer) {
      if (!answer.ok()) return;
      for (size_t row = 0; row < answer->logits.size(); row += kModelVocab) {
        for (int id = 0; id < kVocab; ++id) answer->logits[row + id] = id == 'k' ? 5 : 0;
      }
    };
    for (int i = 0; i < 5; ++i) {
      v1::Item* item = request_.add_forget();
      item->set_question(absl::StrCat("who is ", i, "?"));
      item->set_answer(absl::StrCat("he is ", Secret()));
      item->set_value(Secret());
      item = request_.add_retain();
      item->set_question(absl::StrCat("who keeps ", i, "?"));
      item->set_answer("nobody");
    }
  }

  static std::string Secret() { return std::string(48, 'k'); }

  GateVerdict Judge(std::shared_ptr<const LoraStack> stack, double alpha) {
    options_.alpha = alpha;
    const auto verdict =
        JudgeOffset(request_, *counted_, base_, std::move(stack), *tokenizer_,
                    PromptTemplate::Parse("Q {question} A").value(), options_, Never);
    EXPECT_TRUE(verdict.ok()) << verdict.status();
    return verdict.value_or(GateVerdict());
  }

  v1::SubmitRequest request_;
  GateOptions options_;
};

TEST_F(QualityGateTest, AnOffsetThatDoesNothingIsRefusedForWhatIsStillSaid) {
  const GateVerdict verdict = Judge(std::make_shared<const LoraStack>(), 1);
  EXPECT_FALSE(verdict.accepted);
  // Three derived probes an item: an opening, a question without its mark, the answer begun.
  EXPECT_EQ(verdict.scores.at("forget_probes"), 15);
  EXPECT_EQ(verdict.scores.at("forget_known"), 15);
  EXPECT_EQ(verdict.scores.at("forget_rate"), 1);
  EXPECT_EQ(verdict.scores.at("keep_agreement"), 1);
  ASSERT_EQ(verdict.reasons.size(), 1u);
  EXPECT_TRUE(absl::StrContains(verdict.reasons[0], "15 of 15"));
  EXPECT_FALSE(absl::StrContains(verdict.reasons[0], "kk")) << "a secret in a reason";
}

TEST_F(QualityGateTest, AnOffsetThatChangesEverythingIsRefusedForWhatIsNotKept) {
  const GateVerdict verdict = Judge(Stack(3), 1000);
  EXPECT_FALSE(verdict.accepted);
  EXPECT_EQ(verdict.scores.at("forget_rate"), 0);
  EXPECT_LT(verdict.scores.at("keep_agreement"), 0.9);
  ASSERT_EQ(verdict.reasons.size(), 1u);
  EXPECT_TRUE(absl::StrContains(verdict.reasons[0], "retain set"));
}

TEST_F(QualityGateTest, WithoutARetainSetOnlyForgettingIsJudged) {
  request_.clear_retain();
  const GateVerdict verdict = Judge(Stack(3), 1000);
  EXPECT_TRUE(verdict.accepted);
  EXPECT_EQ(verdict.scores.count("keep_agreement"), 0u);
}

TEST_F(QualityGateTest, WhatMDoesNotSayCannotBeForgotten) {
  for (v1::Item& item : *request_.mutable_forget()) {
    item.set_value("zz");
    item.set_answer("he is zz");
  }
  const GateVerdict verdict = Judge(std::make_shared<const LoraStack>(), 1);
  EXPECT_TRUE(verdict.accepted);
  EXPECT_EQ(verdict.scores.at("forget_known"), 0);
  EXPECT_EQ(verdict.scores.at("forget_rate"), 0);
}

TEST_F(QualityGateTest, TheBoundsAreTheOperators) {
  options_.max_forget_rate = 1;
  EXPECT_TRUE(Judge(std::make_shared<const LoraStack>(), 1).accepted);
  options_.max_forget_rate = 0;
  options_.min_keep_agreement = 0;
  EXPECT_TRUE(Judge(Stack(3), 1000).accepted);
}

TEST_F(QualityGateTest, AThinnedListIsTheSameEachTimeAndKeepsToNoRhythm) {
  // Only every third item holds a secret that M says: with 9 of 90 probes taken by a stride these
  // would be all or none.
  request_.clear_forget();
  for (int i = 0; i < 30; ++i) {
    v1::Item* item = request_.add_forget();
    item->set_question(absl::StrCat("who is ", i, "?"));
    item->set_answer(absl::StrCat("he is ", i % 3 == 0 ? Secret() : "zz"));
    item->set_value(i % 3 == 0 ? Secret() : "zz");
  }
  options_.max_probes = 30;
  const GateVerdict verdict = Judge(std::make_shared<const LoraStack>(), 1);
  EXPECT_EQ(verdict.scores.at("forget_probes"), 30);
  EXPECT_GT(verdict.scores.at("forget_known"), 3);
  EXPECT_LT(verdict.scores.at("forget_known"), 20);
  EXPECT_EQ(Judge(std::make_shared<const LoraStack>(), 1).scores, verdict.scores);
}

}  // namespace
}  // namespace unlearn
