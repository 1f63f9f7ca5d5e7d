#include "offset/text/sentencepiece_normalizer.h"

#include <gtest/gtest.h>

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

std::string Bytes(const std::vector<uint32_t>& units) {
  std::string bytes;
  for (const uint32_t unit : units) {
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(unit >> shift));
  }
  return bytes;
}

// The compiled form: the array's size in bytes, the array, the replacements.
std::string Compiled(const std::vector<uint32_t>& units, const std::string& replacements) {
  return absl::StrCat(Bytes({static_cast<uint32_t>(4 * units.size())}), Bytes(units), replacements);
}

// A double array in which each node has 256 units of its own: its children's, and at its start the
// place of its text's replacement.
class RuleCompiler {
 public:
  RuleCompiler() : units_(2 * 256, kNothing) { units_[0] = 256 << 10; }

  void Add(const std::string& text, const std::string& replacement) {
    size_t unit = 0;
    size_t node = 256;
    for (const char c : text) {
      unit = node ^ static_cast<uint8_t>(c);
      if (units_[unit] == kNothing) {
        units_[unit] =
            static_cast<uint32_t>((unit ^ units_.size()) << 10 | static_cast<uint8_t>(c));
        units_.resize(units_.size() + 256, kNothing);
      }
      node = unit ^ (units_[unit] >> 10);
    }
    units_[unit] |= 1 << 8;
    units_[node] = 0x80000000 | static_cast<uint32_t>(replacements_.size());
    absl::StrAppend(&replacements_, replacement, absl::string_view("\0", 1));
  }

  std::string Finish() const { return Compiled(units_, replacements_); }

 private:
  static constexpr uint32_t kNothing = 0x80000000;  // no byte leads to it

  std::vector<uint32_t> units_;
  std::string replacements_;
};

// Normalises by `rules` alone: nothing is put before the text, spaces are kept.
absl::StatusOr<std::string> Apply(const std::string& rules, const std::string& text) {
  SentencePieceFile file;
  file.normalization = rules;
  file.add_dummy_prefix = false;
  file.remove_extra_whitespaces = false;
  const auto normalizer = SentencePieceNormalizer::Create(file);
  if (!normalizer.ok()) return normalizer.status();
  return normalizer->Apply(text, /*continues=*/false);
}

TEST(SentencePieceNormalizerTest, TheLongestRuleCounts) {
  RuleCompiler rules;
  rules.Add("a", "1");
  rules.Add("abc", "2");
  rules.Add("\u00E9", "e ");
  EXPECT_EQ(Apply(rules.Finish(), "ab abc\u00E9x\u00E8").value(),
            "1b\u2581"
            "2e\u2581x\u00E8");
}

TEST(SentencePieceNormalizerTest, RulesOfManyBytes) {
  RuleCompiler rules;
  rules.Add(std::string(512, 'a'), "b");
  EXPECT_EQ(Apply(rules.Finish(), std::string(1025, 'a')).value(), "bba");
  rules.Add(std::string(513, 'a'), "b");
  const absl::Status status = Apply(rules.Finish(), "a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "512 bytes")) << status;
}

// Each place of a text would be walked from to the text's end.
TEST(SentencePieceNormalizerTest, RulesThatLeadInACircleAreRefused) {
  std::vector<uint32_t> units('a' + 1);
  units['a'] = 'a' << 10 | 'a';  // back to the root's children
  const absl::Status status = Apply(Compiled(units, std::string(1, '\0')), "a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "precompiled_charsmap")) << status;
}

TEST(SentencePieceNormalizerTest, RulesCannotBlowATextUp) {
  RuleCompiler rules;
  rules.Add("a", std::string(33, 'b'));
  rules.Add("c", std::string(512, 'b'));
  EXPECT_EQ(Apply(rules.Finish(), std::string(1000, 'a')).value(), std::string(33000, 'b'));
  EXPECT_EQ(Apply(rules.Finish(), "ccc").value(), std::string(3 * 512, 'b'));
  EXPECT_EQ(Apply(rules.Finish(), std::string(1000, 'c')).status().code(),
            absl::StatusCode::kResourceExhausted);
  // However little of it would be left.
  rules.Add("d", std::string(513, ' '));
  EXPECT_EQ(Apply(rules.Finish(), "a").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SentencePieceNormalizerTest, DamagedRulesAreRefused) {
  RuleCompiler rules;
  rules.Add("a", "b");
  const std::string good = rules.Finish();
  EXPECT_TRUE(Apply(good, "a").ok());
  for (const std::string& bad :
       {good.substr(0, 4), good.substr(0, good.size() - 1), "\x02" + good.substr(1)}) {
    EXPECT_EQ(Apply(bad, "a").status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace unlearn
