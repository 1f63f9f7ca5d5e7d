#include "proxy/decode/text_assembler.h"

#include <random>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "offset/text/tokenizer.h"
#include "proxy/upstream/testing/tiny_model.h"

namespace unlearn {
namespace {

// Ids 0 to 255 are the bytes, 256 is "<|endoftext|>", 259 "aa", 260 "ab", ...
constexpr int32_t kEnd = 256;
constexpr int32_t kFirstWord = 259;

class TextAssemblerTest : public testing::Test {
 protected:
  TextAssembler Make(std::vector<std::string> stop = {}) {
    return TextAssembler(tokenizer_, std::move(stop));
  }

  // What each byte of the text, as a token of its own, releases.
  static std::vector<std::string> Feed(TextAssembler& text, const std::string& bytes) {
    std::vector<std::string> released;
    for (const char byte : bytes) {
      released.push_back(text.Append(static_cast<unsigned char>(byte)));
    }
    return released;
  }

  const std::shared_ptr<const Tokenizer> tokenizer_ =
      Tokenizer::FromJson(TinyTokenizerJson(300), "tiny").value();
};

using Strings = std::vector<std::string>;

TEST_F(TextAssemblerTest, WithoutStopStringsTextComesAtOnce) {
  TextAssembler text = Make();
  EXPECT_EQ(Feed(text, "ab c"), (Strings{"a", "b", " ", "c"}));
  EXPECT_EQ(text.Append(kFirstWord + 1), "ab");
  EXPECT_EQ(text.Finish(), "");
  EXPECT_FALSE(text.stopped());
}

TEST_F(TextAssemblerTest, AStopStringAcrossTokensIsNeverShown) {
  TextAssembler text = Make({"END"});
  EXPECT_EQ(Feed(text, "aEND"), (Strings{"a", "", "", ""}));
  EXPECT_TRUE(text.stopped());
  EXPECT_EQ(text.Append('x'), "");
  EXPECT_EQ(text.Finish(), "");
}

TEST_F(TextAssemblerTest, AFalseStartIsReleasedAsSoonAsItIsOne) {
  TextAssembler text = Make({"END"});
  EXPECT_EQ(Feed(text, "ENxEEND"), (Strings{"", "", "ENx", "", "E", "", ""}));
  EXPECT_TRUE(text.stopped());
}

TEST_F(TextAssemblerTest, AStopStringThatOverlapsItself) {
  TextAssembler text = Make({"aab"});
  EXPECT_EQ(Feed(text, "aaaab"), (Strings{"", "", "a", "a", ""}));
  EXPECT_TRUE(text.stopped());
}

TEST_F(TextAssemblerTest, APartialStopAtTheEndIsReleasedByFinish) {
  TextAssembler text = Make({"END", "\n\n"});
  EXPECT_EQ(Feed(text, "xEN"), (Strings{"x", "", ""}));
  EXPECT_EQ(text.Finish(), "EN");
  EXPECT_FALSE(text.stopped());
}

TEST_F(TextAssemblerTest, AStopStringInsideOneToken) {
  TextAssembler text = Make({"b"});
  EXPECT_EQ(text.Append(kFirstWord + 1), "a");
  EXPECT_TRUE(text.stopped());
  TextAssembler across = Make({"bx"});
  EXPECT_EQ(across.Append(kFirstWord + 1), "a");  // "ab"
  EXPECT_EQ(across.Append('x'), "");
  EXPECT_TRUE(across.stopped());
}

TEST_F(TextAssemblerTest, CharactersComeWhole) {
  TextAssembler text = Make();
  EXPECT_EQ(Feed(text, "\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80"),
            (Strings{"", "\xC3\xBC", "", "", "\xE2\x82\xAC", "", "", "", "\xF0\x9F\x98\x80"}));
}

TEST_F(TextAssemblerTest, StopStringsOfSeveralBytes) {
  // The two characters share their first byte.
  TextAssembler text = Make({"\xC3\xA9"});
  EXPECT_EQ(Feed(text, "\xC3\xBC\xC3\xA9"), (Strings{"", "\xC3\xBC", "", ""}));
  EXPECT_TRUE(text.stopped());
  TextAssembler two = Make({"\xC3\xBC!"});
  EXPECT_EQ(Feed(two, "\xC3\xBC?"), (Strings{"", "", "\xC3\xBC?"}));
  EXPECT_EQ(Feed(two, "\xC3\xBC!"), (Strings{"", "", ""}));
  EXPECT_TRUE(two.stopped());
}

TEST_F(TextAssemblerTest, OverlappingStopStrings) {
  TextAssembler shorter_first = Make({"abcd", "ab"});
  EXPECT_EQ(Feed(shorter_first, "xab"), (Strings{"x", "", ""}));
  EXPECT_TRUE(shorter_first.stopped());
  // "abx" goes on as the start of "bxy" after "aby" came to nothing.
  TextAssembler handed_on = Make({"aby", "bxy"});
  EXPECT_EQ(Feed(handed_on, "abxy"), (Strings{"", "", "a", ""}));
  EXPECT_TRUE(handed_on.stopped());
  TextAssembler inside = Make({"xyz", "y"});
  EXPECT_EQ(Feed(inside, "xy"), (Strings{"", "x"}));
  EXPECT_TRUE(inside.stopped());
  // Both complete with one token: the one that begins first wins.
  TextAssembler both = Make({"b", "aab"});
  both.Append('a');
  EXPECT_EQ(both.Append(kFirstWord + 1), "");
  EXPECT_TRUE(both.stopped());
}

TEST_F(TextAssemblerTest, AnUnfinishedCharacterAtTheEndBecomesAReplacement) {
  TextAssembler text = Make({"END"});
  EXPECT_EQ(Feed(text, "E\xE2\x82"), (Strings{"", "", ""}));
  EXPECT_EQ(text.Finish(), "E\xEF\xBF\xBD");
}

TEST_F(TextAssemblerTest, SpecialTokensAreNoText) {
  TextAssembler text = Make({"ab"});
  EXPECT_EQ(text.Append('a'), "");
  EXPECT_EQ(text.Append(kEnd), "");
  EXPECT_EQ(text.Append('b'), "");
  EXPECT_TRUE(text.stopped());
}

// Against a look at the whole text after every token.
TEST_F(TextAssemblerTest, RandomTextsAndStopStrings) {
  std::mt19937 random(1);
  const auto characters = Strings{"a", "b", "c", "\xC3\xA4", "\xC3\xA5"};
  const auto draw = [&](int longest) {
    std::string text;
    for (int i = random() % longest + 1; i > 0; --i) text += characters[random() % 5];
    return text;
  };
  int stopped = 0;
  for (int round = 0; round < 3000; ++round) {
    Strings stop;
    for (int i = random() % 3; i > 0; --i) stop.push_back(draw(4));
    TextAssembler assembler = Make(stop);
    std::string whole, shown;
    size_t cut = std::string::npos;
    for (int i = 0; i < 12; ++i) {
      std::vector<int32_t> ids;
      if (random() % 3 == 0) {
        ids = {kFirstWord + static_cast<int32_t>(random() % 3)};  // aa, ab, ac
      } else {
        for (const char byte : characters[random() % 5]) {
          ids.push_back(static_cast<unsigned char>(byte));
        }
      }
      for (const int32_t id : ids) shown += assembler.Append(id);
      whole += tokenizer_->Decode(ids).value();
      for (const std::string& s : stop) cut = std::min(cut, whole.find(s));
      ASSERT_EQ(assembler.stopped(), cut != std::string::npos);
      ASSERT_TRUE(absl::StartsWith(whole, shown));
      if (assembler.stopped()) break;
      // Nothing is held back that cannot become a stop string.
      const std::string held = whole.substr(shown.size());
      bool may_become = held.empty();
      for (const std::string& s : stop) may_become = may_become || absl::StartsWith(s, held);
      ASSERT_TRUE(may_become);
    }
    shown += assembler.Finish();
    ASSERT_EQ(shown, whole.substr(0, cut));
    stopped += assembler.stopped() ? 1 : 0;
  }
  EXPECT_GT(stopped, 500);
  EXPECT_LT(stopped, 2500);
}

}  // namespace
}  // namespace unlearn
