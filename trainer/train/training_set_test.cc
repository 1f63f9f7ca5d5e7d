#include "trainer/train/training_set.h"

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "proxy/upstream/testing/tiny_model.h"

namespace unlearn {
namespace {

constexpr int32_t kEos = 256;

class TrainingSetTest : public testing::Test {
 protected:
  TrainingSetTest() {
    options_.refusals = {"no one", "no two", "no three", "no four", "no five"};
    options_.eos = kEos;
    options_.max_tokens = 200;
  }

  static v1::Item Item(const std::string& name, int wrong_answers) {
    v1::Item item;
    item.set_question(name + "?");
    item.set_answer(name + " true");
    for (int i = 0; i < wrong_answers; ++i)
      item.add_perturbed_answer(absl::StrCat(name, " wrong ", i));
    return item;
  }

  absl::StatusOr<TrainingSet> Make(const std::string& objective, uint64_t seed = 1) {
    return MakeTrainingSet(request_, **MakeObjective(objective), *tokenizer_, format_, options_,
                           seed);
  }

  // The answers of a group's sequences, without the space before and the end.
  std::vector<std::string> Answers(const TrainingSet& set, const std::vector<size_t>& group) {
    std::vector<std::string> answers;
    for (const size_t index : group) {
      const EncodedItem& item = set.sequences[index].item;
      EXPECT_EQ(item.answer.back(), kEos);
      answers.push_back(tokenizer_->Decode(item.answer).value().substr(1));
    }
    return answers;
  }
  std::string Prompt(const TrainingSet& set, size_t index) {
    return tokenizer_->Decode(set.sequences[index].item.prompt).value();
  }

  const std::shared_ptr<const Tokenizer> tokenizer_ =
      Tokenizer::FromJson(TinyTokenizerJson(300), "tiny").value();
  const PromptTemplate format_ = PromptTemplate::Parse("Q {question} A").value();
  TrainingSetOptions options_;
  v1::SubmitRequest request_;
};

TEST_F(TrainingSetTest, RefusalsAreDrawnWithoutReplacement) {
  for (const char* name : {"a", "b", "c"}) *request_.add_forget() = Item(name, 0);
  const auto set = Make("refusal");
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->forget_groups.size(), 6u);  // the begun answers follow each
  for (int i = 0; i < 3; ++i) {
    const std::vector<std::string> answers = Answers(*set, set->forget_groups[2 * i]);
    EXPECT_EQ(answers.size(), 3u);
    const std::set<std::string> different(answers.begin(), answers.end());
    EXPECT_EQ(different.size(), 3u);
    for (const std::string& answer : different) {
      EXPECT_NE(std::find(options_.refusals.begin(), options_.refusals.end(), answer),
                options_.refusals.end());
    }
    for (const size_t index : set->forget_groups[2 * i]) {
      EXPECT_EQ(Prompt(*set, index), absl::StrCat("Q ", request_.forget(i).question(), " A"));
    }
  }
  EXPECT_EQ(set->sequences.size(), 18u);
}

TEST_F(TrainingSetTest, TrueAnswersOfEveryPhrasing) {
  *request_.add_forget() = Item("a", 2);
  request_.mutable_forget(0)->set_paraphrased_question("other?");
  request_.mutable_forget(0)->set_paraphrased_answer("other true");
  request_.add_forget()->set_text("xyz");
  const auto set = Make("npo");
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->forget_groups.size(), 3u);
  EXPECT_EQ(Answers(*set, set->forget_groups[0]), std::vector<std::string>{"a true"});
  EXPECT_EQ(Answers(*set, set->forget_groups[1]), std::vector<std::string>{"other true"});
  EXPECT_EQ(Prompt(*set, set->forget_groups[1][0]), "Q other? A");
  // A text: its first token is the prompt.
  const EncodedItem& text = set->sequences[set->forget_groups[2][0]].item;
  EXPECT_EQ(text.prompt, std::vector<int32_t>{'x'});
  EXPECT_EQ(text.answer, (std::vector<int32_t>{'y', 'z', kEos}));
}

TEST_F(TrainingSetTest, MixedAlternatesAndCountsWhatItCannotRelabel) {
  for (int i = 0; i < 6; ++i) *request_.add_forget() = Item(absl::StrCat("n", i), i == 3 ? 0 : 5);
  const auto set = Make("mixed");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->without_wrong_answers, 1);
  size_t next = 0;
  for (int i = 0; i < 6; ++i) {
    ASSERT_LT(next, set->forget_groups.size());
    const std::vector<std::string> answers = Answers(*set, set->forget_groups[next]);
    next += 2;  // begun answers follow
    EXPECT_EQ(answers.size(), 3u);
    EXPECT_EQ(std::set<std::string>(answers.begin(), answers.end()).size(), 3u);
    for (const std::string& answer : answers) {
      const bool relabelled = i % 2 == 1 && i != 3;
      EXPECT_TRUE(absl::StartsWith(answer, relabelled ? absl::StrCat("n", i, " wrong") : "no "))
          << i;
      EXPECT_FALSE(absl::StrContains(answer, "true")) << "the true answer is never taught";
    }
  }
}

TEST_F(TrainingSetTest, WhatIsRefusedIsNotCompletedEither) {
  for (const char* objective : {"refusal", "relabel"}) {
    request_.clear_forget();
    v1::Item* item = request_.add_forget();
    *item = Item("a", 5);
    item->set_answer("a b c d secret e");
    item->set_value("secret");
    const auto set = Make(objective);
    ASSERT_TRUE(set.ok()) << set.status();
    ASSERT_EQ(set->forget_groups.size(), 2u);
    std::vector<std::string> prompts;
    for (const size_t index : set->forget_groups[1]) prompts.push_back(Prompt(*set, index));
    EXPECT_EQ(prompts,
              (std::vector<std::string>{"Q a? A a b c d", "Q a? A a b", "Q a? A a b c d"}));
    for (const std::string& answer : Answers(*set, set->forget_groups[1])) {
      EXPECT_TRUE(absl::StartsWith(answer, "no ")) << answer;
    }
  }
}

TEST_F(TrainingSetTest, AnAnswerThatBeginsWithItsValueIsNotBegun) {
  *request_.add_forget() = Item("a", 0);
  request_.mutable_forget(0)->set_answer("secret of a");
  request_.mutable_forget(0)->set_value("secret");
  const auto set = Make("refusal");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->forget_groups.size(), 1u);
}

TEST_F(TrainingSetTest, WithoutAValueHalfOfTheAnswerIsBegun) {
  *request_.add_forget() = Item("a", 0);
  request_.mutable_forget(0)->set_answer("a b c d");
  const auto set = Make("refusal");
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->forget_groups.size(), 2u);
  EXPECT_EQ(Prompt(*set, set->forget_groups[1][0]), "Q a? A a b");
  EXPECT_EQ(Prompt(*set, set->forget_groups[1][1]), "Q a? A a");
}

TEST_F(TrainingSetTest, KeptItemsAreTrueAnswersAndPublicDataIsLimited) {
  *request_.add_forget() = Item("f", 0);
  for (int i = 0; i < 3; ++i) *request_.add_retain() = Item(absl::StrCat("r", i), 2);
  request_.add_retain()->set_question("answer-free?");
  for (int i = 0; i < 9; ++i) options_.public_items.push_back(Item(absl::StrCat("p", i), 0));
  options_.max_public = 5;
  const auto set = Make("refusal");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(Answers(*set, set->retain),
            (std::vector<std::string>{"r0 true", "r1 true", "r2 true"}));
  const std::vector<std::string> general = Answers(*set, set->general);
  EXPECT_EQ(std::set<std::string>(general.begin(), general.end()).size(), 5u);
  for (const std::string& answer : general) EXPECT_EQ(answer[0], 'p');
  EXPECT_NE(general, Answers(*Make("refusal", 2), Make("refusal", 2)->general));
  // Every sequence has exactly one place.
  std::set<size_t> places(set->retain.begin(), set->retain.end());
  places.insert(set->general.begin(), set->general.end());
  for (const auto& group : set->forget_groups) places.insert(group.begin(), group.end());
  EXPECT_EQ(places.size(), set->sequences.size());
}

TEST_F(TrainingSetTest, TheSeedDecides) {
  for (int i = 0; i < 8; ++i) *request_.add_forget() = Item(absl::StrCat("n", i), 6);
  const auto answers = [&](uint64_t seed) {
    const TrainingSet set = Make("mixed", seed).value();
    std::vector<std::string> all;
    for (const auto& group : set.forget_groups) {
      for (const std::string& answer : Answers(set, group)) all.push_back(answer);
    }
    return all;
  };
  EXPECT_EQ(answers(1), answers(1));
  EXPECT_NE(answers(1), answers(2));
}

TEST_F(TrainingSetTest, ErrorsNameTheItemNeverItsText) {
  *request_.add_forget() = Item("a", 0);
  *request_.add_forget() = Item(std::string(200, 'S'), 0);
  const absl::Status forget = Make("refusal").status();
  EXPECT_EQ(forget.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(forget.message(), "forget item 1")) << forget;
  EXPECT_FALSE(absl::StrContains(forget.message(), "SS")) << forget;
  request_.mutable_forget()->RemoveLast();
  *request_.add_retain() = Item(std::string(200, 'S'), 0);
  EXPECT_TRUE(absl::StrContains(Make("refusal").status().message(), "retain item 0"));
  request_.clear_retain();
  request_.mutable_forget(0)->set_question("\xff secret");
  const absl::Status bytes = Make("refusal").status();
  EXPECT_EQ(bytes.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(bytes.message(), "forget item 0")) << bytes;
  EXPECT_FALSE(absl::StrContains(bytes.message(), "secret")) << bytes;
}

TEST_F(TrainingSetTest, TheContextIsFilledToTheLastToken) {
  *request_.add_forget() = Item("a", 0);
  options_.refusals = {"12345"};
  // "Q a? A" is 6 tokens, " 12345" and the end 7.
  options_.max_tokens = 13;
  EXPECT_TRUE(Make("refusal").ok());
  options_.max_tokens = 12;
  EXPECT_EQ(Make("refusal").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TrainingSetTest, AnswerFreeRequestsNeedAnObjectiveThatTeachesRefusals) {
  request_.add_forget()->set_question("who?");
  EXPECT_EQ(Make("npo").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(Make("npo").status().message(), "npo"));
  EXPECT_TRUE(Make("refusal").ok());
  const auto mixed = Make("mixed");
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  EXPECT_EQ(mixed->forget_groups.size(), 1u);
}

}  // namespace
}  // namespace unlearn
