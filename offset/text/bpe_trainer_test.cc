#include "offset/text/bpe_trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/text/tokenizer.h"

namespace unlearn {
namespace {

std::vector<std::string> Merges(const std::string& json) {
  return nlohmann::json::parse(json)["model"]["merges"].get<std::vector<std::string>>();
}

TEST(BpeTrainerTest, MergesTheMostFrequentFirst) {
  // Words: "abab" x3, " ab" x1, " cd" x2 (the space belongs to the word).
  const auto json = TrainByteLevelBpe({"abab", "abab ab cd", "abab cd"}, {300, {}, 2});
  ASSERT_TRUE(json.ok()) << json.status();
  // ab 7, then abab 3, then of those with 2 the smaller ids.
  EXPECT_EQ(Merges(*json), (std::vector<std::string>{"a b", "ab ab", "c d", "\u0120 cd"}));
}

TEST(BpeTrainerTest, RunsOfOneCharacter) {
  const auto json = TrainByteLevelBpe({"aaaaaaa aaaaaaa"}, {300, {}, 1});
  ASSERT_TRUE(json.ok()) << json.status();
  const auto tokenizer = Tokenizer::FromJson(*json, "trained");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Encode("aaaaaaa")->size(), 1u);
  EXPECT_EQ((*tokenizer)->Encode(" aaaaaaa")->size(), 1u);
}

TEST(BpeTrainerTest, SpecialTokensTakeTheFirstIds) {
  const auto json = TrainByteLevelBpe({"x<|end|>y x<|end|>y"}, {259, {"<|end|>", "<pad>"}, 1});
  ASSERT_TRUE(json.ok()) << json.status();
  const auto tokenizer = *Tokenizer::FromJson(*json, "trained");
  EXPECT_EQ(tokenizer->TokenToId("<|end|>"), 0);
  EXPECT_EQ(tokenizer->TokenToId("<pad>"), 1);
  EXPECT_TRUE(tokenizer->IsSpecial(0));
  EXPECT_EQ(tokenizer->vocab_size(), 259);
  // The special token's own characters were not trained on: the one merge is " x" or "y ".
  for (const std::string& merge : Merges(*json)) EXPECT_FALSE(absl::StrContains(merge, "|"));
  EXPECT_EQ(tokenizer->Encode("x<|end|>")->back(), 0);
}

TEST(BpeTrainerTest, NoMergeMakesASpecialToken) {
  const auto json = TrainByteLevelBpe({"s\u0301 the", "the the the"}, {400, {"\u0120the"}, 1});
  ASSERT_TRUE(json.ok()) << json.status();
  const auto tokenizer = *Tokenizer::FromJson(*json, "trained");
  const auto ids = *tokenizer->Encode("the the");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 0), 0);
  EXPECT_EQ(*tokenizer->Decode(ids), "the the");
}

TEST(BpeTrainerTest, EveryTextRoundTrips) {
  const auto json = TrainByteLevelBpe({"only these words"}, {300, {"<s>"}, 1});
  const auto tokenizer = *Tokenizer::FromJson(*json, "trained");
  for (const std::string text : {"\u4E2D\u6587 \U0001F600", "\t\r\n", "words unseen <s>"}) {
    EXPECT_EQ(*tokenizer->Decode(*tokenizer->Encode(text), false), text);
  }
}

TEST(BpeTrainerTest, DeterministicAndIndependentOfOrder) {
  std::mt19937 random(9);
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (int k = 0; k < 30; ++k) text += " abcde"[random() % 6];
    texts.push_back(text);
  }
  const BpeTrainerOptions options = {600, {"<s>"}, 2};
  const auto first = TrainByteLevelBpe(texts, options);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_GT(Merges(*first).size(), 100u);
  EXPECT_EQ(*TrainByteLevelBpe(texts, options), *first);
  std::shuffle(texts.begin(), texts.end(), random);
  EXPECT_EQ(*TrainByteLevelBpe(texts, options), *first);
}

TEST(BpeTrainerTest, MinimumFrequencyEndsTraining) {
  const auto json = TrainByteLevelBpe({"ab ab ab cd"}, {1000, {}, 3});
  EXPECT_EQ(Merges(*json), (std::vector<std::string>{"a b"}));
  EXPECT_TRUE(Merges(*TrainByteLevelBpe({}, {256, {}, 1})).empty());
}

TEST(BpeTrainerTest, RefusesWhatCannotBeMet) {
  const auto refused = [](const std::vector<std::string>& texts, const BpeTrainerOptions& options,
                          absl::string_view expected) {
    const absl::Status status = TrainByteLevelBpe(texts, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << expected;
    EXPECT_TRUE(absl::StrContains(status.message(), expected)) << status;
  };
  refused({}, {255, {}, 2}, "vocab_size is 255");
  refused({}, {256, {"<s>"}, 2}, "at least 257");
  refused({}, {-5, {}, 2}, "vocab_size is -5");
  refused({}, {300, {}, 0}, "min_frequency is 0");
  refused({}, {300, {"<s>", "<s>"}, 2}, "special_tokens[1] is listed twice");
  refused({}, {300, {""}, 2}, "special_tokens[0] is empty");
  refused({}, {300, {"a"}, 2}, "special_tokens[0] is a single character");
  refused({}, {300, {"\xFFx"}, 2}, "special_tokens[0] is not valid UTF-8");
  refused({"fine", "ab\xFF"}, {300, {}, 2}, "texts[1] is not valid UTF-8 at byte offset 2");
}

}  // namespace
}  // namespace unlearn
