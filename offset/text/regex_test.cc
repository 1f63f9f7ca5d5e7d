#include "offset/text/regex.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

// Pieces of a text, matches in brackets.
std::vector<std::string> Pieces(const std::string& pattern, const std::string& text) {
  const auto regex = Regex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  std::vector<std::string> pieces;
  if (!regex.ok()) return pieces;
  EXPECT_TRUE(regex
                  ->Split(text,
                          [&](absl::string_view piece, bool is_match) {
                            pieces.push_back(is_match ? absl::StrCat("[", piece, "]")
                                                      : std::string(piece));
                            return absl::OkStatus();
                          })
                  .ok());
  return pieces;
}

using Strings = std::vector<std::string>;

TEST(RegexTest, YieldsMatchesAndGaps) {
  EXPECT_EQ(Pieces("\\p{N}+", "a12b3"), (Strings{"a", "[12]", "b", "[3]"}));
  EXPECT_EQ(Pieces("x", ""), Strings{});
  EXPECT_EQ(Pieces("x", "ab"), Strings{"ab"});
  EXPECT_EQ(Pieces("\\p{Lu}", "\u00C9\u00E9"), (Strings{"[\u00C9]", "\u00E9"}));
}

TEST(RegexTest, EmptyMatchesSeparateCharacters) {
  EXPECT_EQ(Pieces("x*", "\u00E9xx\u4E2D"), (Strings{"\u00E9", "[xx]", "\u4E2D"}));
}

TEST(RegexTest, SpaceIsUnicodeWhiteSpace) {
  EXPECT_EQ(Pieces("\\s", "a\u0085b"), (Strings{"a", "[\u0085]", "b"}));
  EXPECT_EQ(Pieces("[^\\S\\n]+", "a \u3000\n"), (Strings{"a", "[ \u3000]", "\n"}));
  EXPECT_EQ(Pieces("\\s", "a\u180Eb"), Strings{"a\u180Eb"});
  EXPECT_EQ(Pieces("\\S+", "a\u180E b"), (Strings{"[a\u180E]", " ", "[b]"}));
  EXPECT_EQ(Pieces("[^\\s\\p{L}]", "a \u180E"), (Strings{"a ", "[\u180E]"}));
}

TEST(RegexTest, CaseInsensitiveGroupOnly) {
  EXPECT_EQ(Pieces("(?i:'s|x)y", "'Sy'SY"), (Strings{"['Sy]", "'SY"}));
}

TEST(RegexTest, RefusesWhatEnginesReadDifferently) {
  for (const char* pattern :
       {"\\w+",   "\\bx",    "\\hx",    "^a",         "a$",    "\\p{N}{1,3}+", "x{2}?",  "[a[b]]",
        "[a&&b]", "(?i)a",   "(?m:a)",  "(?<name>a)", "\\1",   "\\Qa\\E",      "x{",     "\\pL",
        "[]a]",   "[a-\\s]", "[\\s-z]", "a\\",        "\\xE9", "\\R",          "(*UCP)a"}) {
    const auto regex = Regex::Compile(pattern);
    EXPECT_EQ(regex.status().code(), absl::StatusCode::kUnimplemented) << pattern;
  }
}

TEST(RegexTest, RefusesWhatDoesNotCompile) {
  for (const char* pattern : {"(a", "[a", "a**b)", "\\p{Nonsense}", "\xFFz"}) {
    EXPECT_EQ(Regex::Compile(pattern).status().code(), absl::StatusCode::kInvalidArgument)
        << pattern;
  }
}

TEST(RegexTest, AcceptsThePatternsInUse) {
  for (const char* pattern :
       {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|)"
        R"(\s+(?!\S)|\s+)",
        R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)",
        "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+",
        R"((?:'[sS]|'[tT])|[^\r\n\p{L}\p{N}]?+\p{L}+|\s++(?=\s)|\u0009|\x{3000})"}) {
    EXPECT_TRUE(Regex::Compile(pattern).ok()) << pattern << Regex::Compile(pattern).status();
  }
}

TEST(RegexTest, LongTextsDoNotExhaustTheStack) {
  EXPECT_EQ(Pieces("(?:a|b)+", std::string(1 << 20, 'a')).size(), 1u);
  EXPECT_EQ(Pieces("\\s+(?!\\S)|\\s+", std::string(1 << 20, ' ') + "x").size(), 3u);
}

TEST(RegexTest, StopsAtTheFirstError) {
  const auto regex = Regex::Compile("a");
  int calls = 0;
  const absl::Status status = regex->Split("aaa", [&](absl::string_view, bool) {
    ++calls;
    return absl::AbortedError("enough");
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(calls, 1);
}

TEST(RegexTest, CatastrophicPatternsEndWithAnError) {
  const auto regex = Regex::Compile("(?:a+)+(?!a)b");
  ASSERT_TRUE(regex.ok()) << regex.status();
  const absl::Status status = regex->Split(
      std::string(64, 'a') + "c", [](absl::string_view, bool) { return absl::OkStatus(); });
  EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kResourceExhausted) << status;
}

}  // namespace
}  // namespace unlearn
