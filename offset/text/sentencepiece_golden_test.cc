// Compares ids and texts with those of SentencePiece itself, for each kind of model.
#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
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
  EXPECT_EQ(tokenizer_->vocab_size(), vectors_["vocab_size"].get<int>());
  ASSERT_GT(vectors_["cases"].size(), 60u);
  for (const auto& golden : vectors_["cases"]) {
    const auto ids = tokenizer_->Encode(golden["text"].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, golden["ids"].get<std::vector<int32_t>>())
        << golden["text"].dump(-1, ' ', true);
  }
}

TEST_P(SentencePieceGoldenTest, EncodesLongTexts) {
  ASSERT_GE(vectors_["long"].size(), 4u);
  for (const auto& golden : vectors_["long"]) {
    std::string text;
    for (int i = golden["repeat"].get<int>(); i > 0; --i) text += golden["part"].get<std::string>();
    IdsHash hash;
    hash.Add(tokenizer_->Encode(text).value());
    EXPECT_EQ(hash.Finish(), golden["ids"]) << golden["part"];
  }
}

TEST_P(SentencePieceGoldenTest, Fingerprint) {
  EXPECT_EQ(tokenizer_->fingerprint(), vectors_["fingerprint"].get<std::string>());
}

TEST_P(SentencePieceGoldenTest, PutsTheBeginningBefore) {
  const auto& golden = vectors_["with_special"];
  const auto ids = tokenizer_->Encode(golden["text"].get<std::string>(), true);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, golden["ids"].get<std::vector<int32_t>>());
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
    const auto& golden = vectors_["wikitext2"][name];
    ASSERT_EQ(Sha256Hex(*text), golden["text_sha256"].get<std::string>())
        << name << ".txt is not the file that the golden vectors were made from";
    IdsHash whole;
    whole.Add(tokenizer_->Encode(*text).value());
    EXPECT_EQ(whole.Finish(), golden["whole"]);
    IdsHash by_line;
    for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
      by_line.Add(tokenizer_->Encode(line).value());
    }
    EXPECT_EQ(by_line.Finish(), golden["lines"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SentencePieceGoldenTest,
                         testing::Values("llama", "gemma", "t5", "unigram_bytes", "bpe_unknown"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace unlearn
