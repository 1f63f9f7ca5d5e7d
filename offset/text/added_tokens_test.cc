#include "offset/text/added_tokens.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

AddedToken Token(int32_t id, std::string content) {
  AddedToken token;
  token.id = id;
  token.content = std::move(content);
  return token;
}

std::vector<std::string> Pieces(std::vector<AddedToken> tokens, absl::string_view text) {
  const AddedTokenMatcher matcher(std::move(tokens));
  std::vector<std::string> pieces;
  EXPECT_TRUE(matcher
                  .Split(text,
                         [&](absl::string_view piece, int32_t id) {
                           pieces.push_back(id < 0 ? std::string(piece)
                                                   : absl::StrCat(id, "=", piece));
                           return absl::OkStatus();
                         })
                  .ok());
  return pieces;
}

using Strings = std::vector<std::string>;

TEST(AddedTokensTest, LeftmostLongest) {
  const std::vector<AddedToken> tokens = {Token(1, "<a>"), Token(2, "<a><b>"), Token(3, "b>x")};
  EXPECT_EQ(Pieces(tokens, "<a><b>x<a>"), (Strings{"2=<a><b>", "x", "1=<a>"}));
  EXPECT_EQ(Pieces(tokens, "<b>x<a"), (Strings{"<", "3=b>x", "<a"}));
  EXPECT_EQ(Pieces(tokens, ""), Strings{});
  EXPECT_EQ(Pieces({}, "plain"), Strings{"plain"});
}

TEST(AddedTokensTest, EmptyContentsNeverMatchAndTheFirstOfEqualsCounts) {
  EXPECT_EQ(Pieces({Token(1, ""), Token(2, "x"), Token(3, "x")}, "axb"),
            (Strings{"a", "2=x", "b"}));
}

TEST(AddedTokensTest, StripsWhiteSpace) {
  AddedToken left = Token(1, "<l>");
  left.lstrip = true;
  AddedToken right = Token(2, "<r>");
  right.rstrip = true;
  EXPECT_EQ(Pieces({left, right}, "a \u3000<l> b<r>\n c"),
            (Strings{"a", "1= \u3000<l>", " b", "2=<r>\n ", "c"}));
  // What the first took is not taken again.
  EXPECT_EQ(Pieces({left, right}, "<r>  <l>"), (Strings{"2=<r>  ", "1=<l>"}));
}

TEST(AddedTokensTest, StripReachingPastTheNextTokenIsSafe) {
  AddedToken right = Token(1, "<r>");
  right.rstrip = true;
  AddedToken space = Token(2, "  ");
  space.lstrip = true;
  const AddedTokenMatcher matcher({right, space});
  size_t pieces = 0;
  EXPECT_TRUE(matcher
                  .Split("<r>      x",
                         [&](absl::string_view, int32_t) {
                           ++pieces;
                           return absl::OkStatus();
                         })
                  .ok());
  EXPECT_GE(pieces, 2u);
}

// Looking at the white space around each of them anew would take hours here.
TEST(AddedTokensTest, TokensOfWhiteSpaceTakeLinearTime) {
  const std::string spaces(4 << 20, ' ');
  for (const bool left : {false, true}) {
    AddedToken space = Token(1, " ");
    space.lstrip = left;
    space.rstrip = !left;
    size_t count = 0;
    const absl::Status status =
        AddedTokenMatcher({space}).Split(spaces, [&](absl::string_view, int32_t id) {
          count += id == 1 ? 1 : 0;
          return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(count, spaces.size());
  }
}

TEST(AddedTokensTest, SingleWordsStandAlone) {
  AddedToken token = Token(1, "word");
  token.single_word = true;
  EXPECT_EQ(Pieces({token}, "word, aword wordy word_ (word)"),
            (Strings{"1=word", ", aword wordy word_ (", "1=word", ")"}));
  EXPECT_EQ(Pieces({token}, "\u00E9word word\u0301 word\u24B6"),
            Strings{"\u00E9word word\u0301 word\u24B6"});
  EXPECT_EQ(Pieces({token}, "\u2019word\u00BD"), (Strings{"\u2019", "1=word", "\u00BD"}));
}

}  // namespace
}  // namespace unlearn
