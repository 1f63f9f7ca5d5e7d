#include "trainer/train/own_answers.h"

#include "trainer/train/tiny_training.h"

namespace unlearn {
namespace {

class OwnAnswersTest : public TinyTrainingTest {
 protected:
  absl::StatusOr<std::vector<v1::Item>> Ask(const std::vector<std::string>& questions,
                                            const std::function<bool()>& should_stop = Never) {
    SealedFolder work = Work();
    return AskOwnAnswers(questions, *counted_, base_, *tokenizer_,
                         PromptTemplate::Parse("Q {question} A").value(), work, should_stop);
  }
  static std::string All(const std::vector<v1::Item>& items) {
    std::string all;
    for (const v1::Item& item : items) {
      absl::StrAppend(&all, item.question(), "\n", item.answer(), "\n");
    }
    return all;
  }
};

TEST_F(OwnAnswersTest, AskedOnce) {
  const auto first = Ask({"one?", "two?"});
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_EQ(first->size(), 2u);
  EXPECT_EQ((*first)[1].question(), "two?");
  const int sessions = counted_->sessions;
  const auto again = Ask({"one?", "two?"});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(All(*again), All(*first));
  EXPECT_EQ(counted_->sessions, sessions);
}

TEST_F(OwnAnswersTest, OtherQuestionsAndAnotherModelAreAsked) {
  ASSERT_TRUE(Ask({"one?"}).ok());
  int sessions = counted_->sessions;
  ASSERT_TRUE(Ask({"two?"}).ok());
  EXPECT_GT(counted_->sessions, sessions);
  sessions = counted_->sessions;
  counted_->mutable_info().weights_fingerprint = "another";
  ASSERT_TRUE(Ask({"two?"}).ok());
  EXPECT_GT(counted_->sessions, sessions);
}

TEST_F(OwnAnswersTest, NoQuestionsAskNobody) {
  const auto none = Ask({});
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_TRUE(none->empty());
  EXPECT_EQ(counted_->sessions, 0);
}

TEST_F(OwnAnswersTest, StoppedItKeepsNothing) {
  EXPECT_EQ(Ask({"one?"}, [] { return true; }).status().code(), absl::StatusCode::kCancelled);
  SealedFolder work = Work();
  EXPECT_FALSE(work.Has("own-answers"));
}

}  // namespace
}  // namespace unlearn
