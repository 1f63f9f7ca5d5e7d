// Compares the trainer with the Hugging Face library's on the same texts: equal merges, equal ids.
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "offset/text/bpe_trainer.h"
#include "offset/text/golden_files.h"
#include "offset/text/tokenizer.h"

namespace unlearn {
namespace {

// The text of trainer_text() in make_tokenizer_vectors.py.
std::vector<std::string> SyntheticLines() {
  const std::vector<std::string> syllables = {"ka",        "lo",           "mi", "ren", "tu", "sha",
                                              "\xC3\xA9l", "\xE4\xB8\xAD", "th", "ing", "o",  "'s"};
  uint64_t state = 12345;
  const auto next = [&state] {
    state = (state * 1103515245 + 12345) % (uint64_t{1} << 31);
    return state >> 16;
  };
  std::vector<std::string> lines;
  for (int line = 0; line < 400; ++line) {
    std::vector<std::string> words;
    for (int i = 0; i < 12; ++i) {
      const uint64_t count = 1 + next() % 4;
      std::string word;
      for (uint64_t k = 0; k < count; ++k) {
        const uint64_t pick = next() % 144;
        word += syllables[std::min(pick / 12, pick % 12)];
      }
      words.push_back(word);
    }
    lines.push_back(absl::StrCat(absl::StrJoin(words, " "), ".\n"));
  }
  return lines;
}

nlohmann::json Summary(const std::string& json, const std::vector<std::string>& texts) {
  const nlohmann::json document = nlohmann::json::parse(json, nullptr, false);
  const auto merges = document["model"]["merges"].get<std::vector<std::string>>();
  const auto tokenizer = Tokenizer::FromJson(json, "trained");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  if (!tokenizer.ok()) return {};
  IdsHash ids;
  for (const std::string& text : texts) ids.Add(*(*tokenizer)->Encode(text));
  return {{"vocab_size", (*tokenizer)->vocab_size()},
          {"merges", merges.size()},
          {"merges_sha256", Sha256Hex(absl::StrJoin(merges, "\n"))},
          {"ids", ids.Finish()}};
}

TEST(TrainerGoldenTest, EqualsReferenceOnSyntheticText) {
  const nlohmann::json golden = ReadGolden("trainer_vectors");
  const std::vector<std::string> lines = SyntheticLines();
  ASSERT_EQ(Sha256Hex(absl::StrJoin(lines, "")),
            golden["synthetic_text_sha256"].get<std::string>());
  const auto json = TrainByteLevelBpe(lines, {600, {"<|endoftext|>", "<|pad|>"}, 2});
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(Summary(*json, lines), golden["synthetic"]);
  // For the script's --trained: that the other library loads what was written here.
  if (const char* folder = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR")) {
    EXPECT_TRUE(WriteFileAtomically(JoinPath(folder, "trained_tokenizer.json"), *json, 0644).ok());
  }
}

TEST(TrainerGoldenTest, EqualsReferenceOnWikitext2) {
  std::string reason;
  const auto text = ReadWikitext("valid", &reason);
  if (!text.has_value()) GTEST_SKIP() << reason;
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n');
  const absl::Time start = absl::Now();
  const auto json = TrainByteLevelBpe(lines, {4096, {"<|endoftext|>", "<|pad|>"}, 2});
  RecordProperty("train_ms", static_cast<int>(absl::ToInt64Milliseconds(absl::Now() - start)));
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(Summary(*json, lines), ReadGolden("trainer_vectors")["wikitext2_valid"]);
}

}  // namespace
}  // namespace unlearn
