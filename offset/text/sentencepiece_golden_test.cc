// Compares ids and texts with those of SentencePiece itself, for each kind of model.
#include <gtest/gtest.h>

#include "offset/text/golden_checks.h"
#include "offset/text/golden_files.h"
#include "offset/text/stream_decoder.h"
#include "offset/text/tokenizer.h"

namespace unlearn {
namespace {

class SentencePieceGoldenTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string stem = absl::StrCat("tests/golden/sentencepiece_", GetParam());
    auto loaded = Tokenizer::Load(absl::StrCat(stem, ".model"));
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *loaded;
    const auto text = ReadFile(absl::StrCat(stem, "_vectors.json"));
    ASSERT_TRUE(text.ok()) << text.status();
    vectors_ = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(vectors_.is_object());
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  nlohmann::json vectors_;
};

TEST_P(SentencePieceGoldenTest, EncodesHostileStrings) {
  ASSERT_GT(vectors_["cases"].size(), 60u);
  ExpectIdsOfCases(*tokenizer_, vectors_);
}

TEST_P(SentencePieceGoldenTest, EncodesLongTexts) {
  const auto vectors = vectors_["long"];
  ASSERT_GE(vectors.size(), 4u);
  ExpectIdsOfLongTexts(*tokenizer_, vectors);
}

TEST_P(SentencePieceGoldenTest, Fingerprint) {
  EXPECT_EQ(tokenizer_->fingerprint(), vectors_["fingerprint"].get<std::string>());
}

TEST_P(SentencePieceGoldenTest, PutsTheBeginningBefore) {
  ExpectIdsWithSpecialTokens(*tokenizer_, vectors_);
}

TEST_P(SentencePieceGoldenTest, Decodes) {
  ASSERT_GT(vectors_["decoded"].size(), 20u);
  for (const auto& golden : vectors_["decoded"]) {
    const auto ids = golden["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(*tokenizer_->Decode(ids), golden["text"].get<std::string>());
    StreamDecoder decoder(tokenizer_);
    std::string streamed;
    for (const int32_t id : ids) streamed += decoder.Append(id);
    EXPECT_EQ(streamed + decoder.Flush(), golden["text"].get<std::string>());
  }
}

TEST_P(SentencePieceGoldenTest, EncodesAllOfWikitext2) {
  for (const std::string name : {"valid", "test"}) {
    std::string reason;
    const auto text = ReadWikitext(name, &reason);
    if (!text.has_value()) GTEST_SKIP() << reason;
    ExpectIdsOfWikitext(*tokenizer_, name, *text, vectors_);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SentencePieceGoldenTest,
                         testing::Values("llama", "gemma", "t5", "unigram_bytes", "bpe_unknown"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace unlearn
