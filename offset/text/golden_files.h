#ifndef OFFSET_TEXT_GOLDEN_FILES_H_
#define OFFSET_TEXT_GOLDEN_FILES_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/sha256.h"

namespace unlearn {

// Reads what tests/golden/make_tokenizer_vectors.py wrote. For tests only.
inline std::string GoldenPath(const std::string& name) {
  return absl::StrCat("tests/golden/tokenizer_", name, ".json");
}

inline nlohmann::json ReadGolden(const std::string& name) {
  const auto text = ReadFile(GoldenPath(name));
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false)
                   : nlohmann::json();
}

// SHA-256 and count of ids as 32-bit little-endian integers, over several sequences.
class IdsHash {
 public:
  void Add(const std::vector<int32_t>& ids) {
    count_ += ids.size();
    hash_.Update({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
  }
  nlohmann::json Finish() { return {{"sha256", hash_.HexDigest()}, {"count", count_}}; }

 private:
  Sha256 hash_;
  size_t count_ = 0;
};

// The text of wikitext-2's valid.txt or test.txt in the folder that UNLEARN_TEST_DATA names;
// nullopt (and the reason) without it, which fails the test where CI=true.
inline std::optional<std::string> ReadWikitext(const std::string& name, std::string* reason) {
  const char* folder = std::getenv("UNLEARN_TEST_DATA");
  if (folder == nullptr) {
    *reason = "UNLEARN_TEST_DATA is not set; point it at the folder that holds data/wikitext2";
  } else {
    const auto text = ReadFile(absl::StrCat(folder, "/data/wikitext2/", name, ".txt"));
    if (text.ok()) return *text;
    *reason = std::string(text.status().message());
  }
  const char* ci = std::getenv("CI");
  if (ci != nullptr && std::string(ci) == "true") ADD_FAILURE() << *reason;
  return std::nullopt;
}

}  // namespace unlearn

#endif  // OFFSET_TEXT_GOLDEN_FILES_H_
