// An answer encoded as what goes on from its prompt: together they are the prompt and the answer.
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "offset/text/tokenizer.h"

namespace unlearn {
namespace {

using Ids = std::vector<int32_t>;

Ids Joined(Ids first, const Ids& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

class ContinuationTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto loaded = Tokenizer::Load(absl::StrCat("tests/golden/", GetParam()));
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *loaded;
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_P(ContinuationTest, DecodesToPromptAndAnswer) {
  const std::string file = GetParam();
  // These normalise, or have unknown characters: plain words only.
  const bool lossy = absl::StrContains(file, "unknown") || absl::StrContains(file, "t5");
  std::vector<std::string> prompts = {"the end of the", "and the", "a"};
  std::vector<std::string> answers = {" the answer", "the rest", "s", " a"};
  if (!lossy) {
    for (const char* prompt :
         {"Question", "Question: Who was it?\nAnswer:", " ", "  x  ", "\u00e9\n"}) {
      prompts.push_back(prompt);
    }
    for (const char* answer : {" ", "   two\n", "\n", "\U0001F600 \u65e5", " n\u00e9e", ""}) {
      answers.push_back(answer);
    }
  }
  for (const std::string& prompt : prompts) {
    const Ids begun = tokenizer_->Encode(prompt).value();
    const std::string decoded = tokenizer_->Decode(begun).value();
    // A text that begins with a space may lose it; one kind keeps the space that it puts there.
    if (prompt[0] != ' ') {
      EXPECT_EQ(decoded, absl::StrCat(absl::StrContains(file, "gpt2_prefix") ? " " : "", prompt));
    }
    for (const std::string& answer : answers) {
      const Ids ids = Joined(begun, tokenizer_->EncodeContinuation(answer).value());
      EXPECT_EQ(tokenizer_->Decode(ids).value(), absl::StrCat(decoded, answer));
    }
  }
}

TEST_P(ContinuationTest, RefusesInvalidUtf8) {
  EXPECT_EQ(tokenizer_->EncodeContinuation("a\xFF").status().code(),
            absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ContinuationTest,
                         testing::Values("tokenizer_gpt2.json", "tokenizer_gpt2_prefix.json",
                                         "tokenizer_llama3.json", "tokenizer_qwen2.json",
                                         "tokenizer_llama2.json", "tokenizer_mistral.json",
                                         "tokenizer_gemma.json", "tokenizer_words_unknown.json",
                                         "sentencepiece_llama.model", "sentencepiece_gemma.model",
                                         "sentencepiece_t5.model",
                                         "sentencepiece_unigram_bytes.model",
                                         "sentencepiece_bpe_unknown.model"),
                         [](const auto& info) {
                           const std::string name = info.param;
                           return name.substr(0, name.find('.'));
                         });

}  // namespace
}  // namespace unlearn
