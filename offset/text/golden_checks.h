#ifndef OFFSET_TEXT_GOLDEN_CHECKS_H_
#define OFFSET_TEXT_GOLDEN_CHECKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "offset/base/sha256.h"
#include "offset/text/golden_files.h"
#include "offset/text/tokenizer.h"

namespace unlearn {

// What every tokenizer is held to, whatever file it was read from. For tests only; `vectors` as the
// scripts in tests/golden write them.

inline void ExpectIdsOfCases(const Tokenizer& tokenizer, const nlohmann::json& vectors) {
  EXPECT_EQ(tokenizer.vocab_size(), vectors["vocab_size"].get<int>());
  for (const auto& golden : vectors["cases"]) {
    const auto ids = tokenizer.Encode(golden["text"].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, golden["ids"].get<std::vector<int32_t>>())
        << golden["text"].dump(-1, ' ', true);
  }
}

// Texts of many equal parts.
inline void ExpectIdsOfLongTexts(const Tokenizer& tokenizer, const nlohmann::json& long_vectors) {
  for (const auto& golden : long_vectors) {
    std::string text;
    for (int i = golden["repeat"].get<int>(); i > 0; --i) text += golden["part"].get<std::string>();
    IdsHash hash;
    hash.Add(tokenizer.Encode(text).value());
    EXPECT_EQ(hash.Finish(), golden["ids"]) << golden["part"];
  }
}

inline void ExpectIdsWithSpecialTokens(const Tokenizer& tokenizer, const nlohmann::json& vectors) {
  const auto& golden = vectors["with_special"];
  const auto ids = tokenizer.Encode(golden["text"].get<std::string>(), true);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, golden["ids"].get<std::vector<int32_t>>());
}

// `text`: wikitext-2's valid.txt or test.txt, in one piece and line by line.
inline void ExpectIdsOfWikitext(const Tokenizer& tokenizer, const std::string& name,
                                const std::string& text, const nlohmann::json& vectors) {
  const auto& golden = vectors["wikitext2"][name];
  ASSERT_EQ(Sha256Hex(text), golden["text_sha256"].get<std::string>())
      << name << ".txt is not the file that the golden vectors were made from";
  IdsHash whole;
  whole.Add(tokenizer.Encode(text).value());
  EXPECT_EQ(whole.Finish(), golden["whole"]);
  IdsHash by_line;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    by_line.Add(tokenizer.Encode(line).value());
  }
  EXPECT_EQ(by_line.Finish(), golden["lines"]);
}

}  // namespace unlearn

#endif  // OFFSET_TEXT_GOLDEN_CHECKS_H_
