#include "trainer/train/encoded_item.h"

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proxy/upstream/testing/tiny_model.h"

namespace unlearn {
namespace {

constexpr int32_t kEos = 7;

class EncodedItemTest : public testing::Test {
 protected:
  std::vector<int32_t> Encode(const std::string& text) { return tokenizer_->Encode(text).value(); }

  static std::vector<int32_t> With(std::vector<int32_t> ids, int32_t id) {
    ids.push_back(id);
    return ids;
  }

  const std::shared_ptr<const Tokenizer> tokenizer_ =
      Tokenizer::Load("tests/golden/tokenizer_gpt2.json").value();
};

TEST_F(EncodedItemTest, TemplateHoldsTheQuestionExactlyOnce) {
  const auto format = PromptTemplate::Parse("Q: {question}\nA:");
  ASSERT_TRUE(format.ok()) << format.status();
  EXPECT_EQ(format->Prompt("Who?"), "Q: Who?\nA:");
  EXPECT_EQ(format->Prompt("a {question} b"), "Q: a {question} b\nA:");
  EXPECT_EQ(PromptTemplate::Parse("{question}")->Prompt("x"), "x");
  EXPECT_EQ(PromptTemplate::Parse(kDefaultPromptTemplate)->Prompt("Who?"),
            "Question: Who?\nAnswer:");
  for (const char* text : {"", "Q: A:", "{Question}", "{question} {question}"}) {
    const absl::Status status = PromptTemplate::Parse(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_TRUE(absl::StrContains(status.message(), "--prompt_template")) << status;
  }
}

TEST_F(EncodedItemTest, PromptAndAnswerAreTokenisedApart) {
  const auto format = PromptTemplate::Parse(kDefaultPromptTemplate);
  const auto item = EncodeItem(*tokenizer_, *format, "Who was it?", "the answer", kEos);
  ASSERT_TRUE(item.ok()) << item.status();
  EXPECT_EQ(item->prompt, Encode("Question: Who was it?\nAnswer:"));
  EXPECT_EQ(item->answer, With(Encode(" the answer"), kEos));
  std::vector<int32_t> all = item->prompt;
  all.insert(all.end(), item->answer.begin(), item->answer.end());
  EXPECT_EQ(item->Tokens(), all);
}

// With a tokenizer that merges across the border, the whole text's prompt would be tokens that no
// client's prompt has.
TEST_F(EncodedItemTest, NoMergeCrossesTheBorder) {
  nlohmann::json json = nlohmann::json::parse(TinyTokenizerJson(259));
  json["pre_tokenizer"]["use_regex"] = false;
  json["model"]["vocab"][":\u0120"] = 259;  // ':' and a space
  json["model"]["merges"] = {": \u0120"};
  const auto merging = Tokenizer::FromJson(json.dump(), "merging");
  ASSERT_TRUE(merging.ok()) << merging.status();
  EXPECT_EQ((*merging)->Encode("A: x").value(), (std::vector<int32_t>{'A', 259, 'x'}));
  const auto format = PromptTemplate::Parse("{question}A:");
  const auto item = EncodeItem(**merging, *format, "Q", "x", kEos);
  ASSERT_TRUE(item.ok()) << item.status();
  EXPECT_EQ(item->prompt, (std::vector<int32_t>{'Q', 'A', ':'}));
  EXPECT_EQ(item->answer, (std::vector<int32_t>{' ', 'x', kEos}));
}

TEST_F(EncodedItemTest, PlainTextFollowsTheBeginningTokenOrItsOwnFirst) {
  const std::vector<int32_t> ids = Encode("some plain text");
  const auto with = EncodeText(*tokenizer_, "some plain text", 3, kEos);
  ASSERT_TRUE(with.ok()) << with.status();
  EXPECT_EQ(with->prompt, std::vector<int32_t>{3});
  EXPECT_EQ(with->answer, With(ids, kEos));
  const auto without = EncodeText(*tokenizer_, "some plain text", -1, kEos);
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_EQ(without->prompt, std::vector<int32_t>{ids[0]});
  EXPECT_EQ(without->Tokens(), With(ids, kEos));
  const auto one = EncodeText(*tokenizer_, "a", -1, kEos);
  EXPECT_EQ(one->Tokens(), With(Encode("a"), kEos));
  EXPECT_EQ(one->answer, std::vector<int32_t>{kEos});
}

TEST_F(EncodedItemTest, RefusesWhatIsNoUtf8WithoutShowingIt) {
  const auto format = PromptTemplate::Parse(kDefaultPromptTemplate);
  const std::string bad = "secret \xff";
  for (const absl::Status& status : {EncodeItem(*tokenizer_, *format, bad, "a", kEos).status(),
                                     EncodeItem(*tokenizer_, *format, "q", bad, kEos).status(),
                                     EncodeText(*tokenizer_, bad, -1, kEos).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(absl::StrContains(status.message(), "secret")) << status;
  }
}

}  // namespace
}  // namespace unlearn
