// Compares ids and texts with those of the Hugging Face library, for each kind of tokenizer.
#include <gtest/gtest.h>

#include "offset/text/golden_checks.h"
#include "offset/text/golden_files.h"
#include "offset/text/stream_decoder.h"
#include "offset/text/tokenizer.h"

namespace unlearn {
namespace {

class TokenizerGoldenTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto loaded = Tokenizer::Load(GoldenPath(GetParam()));
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *loaded;
    vectors_ = ReadGolden(absl::StrCat(GetParam(), "_vectors"));
    ASSERT_TRUE(vectors_.is_object());
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  nlohmann::json vectors_;
};

TEST_P(TokenizerGoldenTest, EncodesHostileStrings) {
  ASSERT_GT(vectors_["cases"].size(), 40u);
  ExpectIdsOfCases(*tokenizer_, vectors_);
}

TEST_P(TokenizerGoldenTest, EncodesLongTexts) {
  const auto vectors = ReadGolden("long_vectors")[GetParam()];
  ASSERT_GE(vectors.size(), 5u);
  ExpectIdsOfLongTexts(*tokenizer_, vectors);
}

TEST_P(TokenizerGoldenTest, Fingerprint) {
  EXPECT_EQ(tokenizer_->fingerprint(), vectors_["fingerprint"].get<std::string>());
}

TEST_P(TokenizerGoldenTest, AppliesTheTemplate) {
  ExpectIdsWithSpecialTokens(*tokenizer_, vectors_);
}

TEST_P(TokenizerGoldenTest, DecodesAnyIds) {
  ASSERT_GT(vectors_["decoded"].size(), 10u);
  for (const auto& golden : vectors_["decoded"]) {
    const auto ids = golden["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(*tokenizer_->Decode(ids, false), golden["text"].get<std::string>());
    EXPECT_EQ(*tokenizer_->Decode(ids, true), golden["skipped"].get<std::string>());
    StreamDecoder decoder(tokenizer_);
    std::string streamed;
    for (const int32_t id : ids) streamed += decoder.Append(id);
    EXPECT_EQ(streamed + decoder.Flush(), golden["skipped"].get<std::string>());
  }
}

TEST_P(TokenizerGoldenTest, EncodesAllOfWikitext2) {
  for (const std::string name : {"valid", "test"}) {
    std::string reason;
    const auto text = ReadWikitext(name, &reason);
    if (!text.has_value()) GTEST_SKIP() << reason;
    ExpectIdsOfWikitext(*tokenizer_, name, *text, vectors_);
    // Not where encoding puts spaces in, or characters are unknown.
    const std::string kind = GetParam();
    if (kind != "gpt2_prefix" && kind != "llama2" && kind != "mistral" && kind != "words_unknown") {
      const auto ids = tokenizer_->Encode(*text);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(*tokenizer_->Decode(*ids, false), *text);
    }
  }
}

TEST(IgnoreMergesTest, DecidesInTheGoldenFile) {
  nlohmann::json document = ReadGolden("llama3");
  ASSERT_TRUE(document["model"]["ignore_merges"].get<bool>());
  const auto with = Tokenizer::FromJson(document.dump(), "golden");
  document["model"]["ignore_merges"] = false;
  const auto without = Tokenizer::FromJson(document.dump(), "golden");
  ASSERT_TRUE(with.ok() && without.ok());
  int whole = 0;  // entries that only ignore_merges makes one token
  for (int32_t id = 0; id < (*with)->vocab_size(); ++id) {
    const std::string bytes = (*with)->TokenBytes(id);
    const auto ids = (*with)->Encode(bytes);
    if (!ids.ok() || *ids != std::vector<int32_t>{id}) continue;
    if ((*without)->Encode(bytes)->size() > 1) ++whole;
  }
  EXPECT_GE(whole, 1);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerGoldenTest,
                         testing::Values("gpt2", "gpt2_prefix", "llama3", "qwen2", "llama2",
                                         "mistral", "gemma", "words_unknown"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace unlearn
