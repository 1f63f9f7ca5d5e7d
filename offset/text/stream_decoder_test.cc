#include "offset/text/stream_decoder.h"

#include <gtest/gtest.h>

#include <random>

#include "offset/text/golden_files.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

std::shared_ptr<const Tokenizer> Gpt2() {
  static const auto* const tokenizer =
      new absl::StatusOr<std::shared_ptr<const Tokenizer>>(Tokenizer::Load(GoldenPath("gpt2")));
  EXPECT_TRUE(tokenizer->ok()) << tokenizer->status();
  return **tokenizer;
}

// The ids of single bytes.
std::vector<int32_t> ByteIds(const Tokenizer& tokenizer, absl::string_view bytes) {
  std::vector<int32_t> by_byte(256, -1);
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string token = tokenizer.TokenBytes(id);
    if (token.size() == 1) by_byte[static_cast<uint8_t>(token[0])] = id;
  }
  std::vector<int32_t> ids;
  for (const char byte : bytes) ids.push_back(by_byte[static_cast<uint8_t>(byte)]);
  return ids;
}

TEST(StreamDecoderTest, HoldsBackUnfinishedCharacters) {
  const auto tokenizer = Gpt2();
  StreamDecoder decoder(tokenizer);
  const auto ids = ByteIds(*tokenizer, "a\xF0\x9F\x98\x80\xC3z");
  const std::vector<std::string> expected = {"a", "", "", "", "\U0001F600", "", "\uFFFDz"};
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(decoder.Append(ids[i]), expected[i]) << i;
  EXPECT_EQ(decoder.Flush(), "");
  EXPECT_EQ(decoder.Append(ids[1]), "");
  EXPECT_EQ(decoder.pending_bytes(), 1u);
  EXPECT_EQ(decoder.Flush(), "\uFFFD");
  EXPECT_EQ(decoder.Flush(), "");
}

TEST(StreamDecoderTest, SpecialTokensAreSkippedWithoutBreakingACharacter) {
  const auto tokenizer = Gpt2();
  const auto ids = ByteIds(*tokenizer, "\xC3\xA9");
  const int32_t end = *tokenizer->TokenToId("<|endoftext|>");
  StreamDecoder skipping(tokenizer);
  EXPECT_EQ(skipping.Append(ids[0]), "");
  EXPECT_EQ(skipping.Append(end), "");
  EXPECT_EQ(skipping.Append(ids[1]), "\u00E9");
  StreamDecoder showing(tokenizer, /*skip_special_tokens=*/false);
  EXPECT_EQ(showing.Append(end), "<|endoftext|>");
}

TEST(StreamDecoderTest, UnknownIdsAreVisible) {
  StreamDecoder decoder(Gpt2());
  EXPECT_EQ(decoder.Append(ByteIds(*Gpt2(), "\xC3")[0]), "");
  EXPECT_EQ(decoder.Append(1 << 20), "\uFFFD\uFFFD");
}

// Whatever the ids: every part is valid UTF-8 and final, the sum is Decode's.
TEST(StreamDecoderTest, SumEqualsDecode) {
  const auto tokenizer = Gpt2();
  std::mt19937 random(3);
  for (int trial = 0; trial < 3000; ++trial) {
    std::vector<int32_t> ids;
    if (trial % 2 == 0) {
      std::string bytes(random() % 40, ' ');
      // Mostly lead and continuation bytes, which is where it can go wrong.
      for (char& byte : bytes) byte = static_cast<char>(random() % 8 == 0 ? 'a' : random() | 0x80);
      ids = ByteIds(*tokenizer, bytes);
    } else {
      for (int i = random() % 40; i > 0; --i) ids.push_back(random() % tokenizer->vocab_size());
    }
    for (const bool skip : {false, true}) {
      StreamDecoder decoder(tokenizer, skip);
      std::string streamed;
      for (const int32_t id : ids) {
        const std::string part = decoder.Append(id);
        ASSERT_EQ(ValidUtf8Prefix(part), part.size());
        ASSERT_LE(decoder.pending_bytes(), 3u);
        streamed += part;
      }
      streamed += decoder.Flush();
      ASSERT_EQ(streamed, *tokenizer->Decode(ids, skip));
    }
  }
}

}  // namespace
}  // namespace unlearn
