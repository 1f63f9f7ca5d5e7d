#include "offset/text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <string>

namespace unlearn {
namespace {

PreTokenizerStep Step(absl::string_view pattern, bool prefix, bool keep_gaps) {
  PreTokenizerStep step;
  step.add_prefix_space = prefix;
  step.match = keep_gaps ? PreTokenizerStep::Match::kIsolated : PreTokenizerStep::Match::kOnly;
  if (!pattern.empty()) {
    auto regex = Regex::Compile(pattern);
    EXPECT_TRUE(regex.ok()) << regex.status();
    step.pattern = *std::move(regex);
  }
  return step;
}

std::vector<std::string> Words(std::vector<PreTokenizerStep> steps, absl::string_view text) {
  const PreTokenizer pre_tokenizer(std::move(steps));
  std::vector<std::string> words;
  EXPECT_TRUE(pre_tokenizer
                  .Split(text, PieceStart::kText,
                         [&](absl::string_view word) {
                           words.emplace_back(word);
                           return absl::OkStatus();
                         })
                  .ok());
  return words;
}

using Strings = std::vector<std::string>;

template <typename... Steps>
std::vector<PreTokenizerStep> List(Steps... steps) {
  std::vector<PreTokenizerStep> list;
  (list.push_back(std::move(steps)), ...);
  return list;
}

TEST(PreTokenizerTest, Gpt2Words) {
  EXPECT_EQ(Words(List(Step(kGpt2Pattern, false, true)), "I've  12 caf\u00E9s!\n\n x"),
            (Strings{"I", "'ve", " ", " 12", " caf\u00E9s", "!", "\n\n", " x"}));
}

TEST(PreTokenizerTest, PrefixSpaceComesOncePerPieceOfItsStep) {
  EXPECT_EQ(Words(List(Step("", true, true)), "a b"), Strings{" a b"});
  EXPECT_EQ(Words(List(Step("", true, true)), " a"), Strings{" a"});
  EXPECT_EQ(Words(List(Step("\\p{N}", false, true), Step("", true, true)), "a1b"),
            (Strings{" a", " 1", " b"}));
  EXPECT_EQ(Words(List(Step("", true, true)), ""), Strings{});
}

TEST(PreTokenizerTest, GapsCanBeDropped) {
  EXPECT_EQ(Words(List(Step("\\p{L}+", false, false)), "ab, cd"), (Strings{"ab", "cd"}));
}

TEST(PreTokenizerTest, StepsSplitThePiecesOfTheOneBefore) {
  EXPECT_EQ(Words(List(Step("\\p{N}", false, true), Step("\\p{L}+", false, true)), "ab12!c"),
            (Strings{"ab", "1", "2", "!", "c"}));
}

TEST(PreTokenizerTest, AMatchEndsTheWordBeforeIt) {
  const auto words = [](absl::string_view text) {
    PreTokenizerStep step = Step(" ", false, true);
    step.match = PreTokenizerStep::Match::kEndsWord;
    std::vector<PreTokenizerStep> steps;
    steps.push_back(std::move(step));
    return Words(std::move(steps), text);
  };
  EXPECT_EQ(words("a b  c"), (Strings{"a ", "b ", " ", "c"}));
  EXPECT_EQ(words(" a "), (Strings{" ", "a "}));
  EXPECT_EQ(words("ab"), (Strings{"ab"}));
}

TEST(PreTokenizerTest, MetaspaceBeginsWords) {
  const auto words = [](absl::string_view text, PreTokenizerStep::Prepend prepend, bool split) {
    PreTokenizerStep step;
    step.metaspace = "_";
    step.prepend = prepend;
    step.split_words = split;
    std::vector<PreTokenizerStep> steps;
    steps.push_back(std::move(step));
    return Words(std::move(steps), text);
  };
  using Prepend = PreTokenizerStep::Prepend;
  EXPECT_EQ(words("a b  c ", Prepend::kAlways, true), (Strings{"_a", "_b", "_", "_c", "_"}));
  EXPECT_EQ(words("a b", Prepend::kNever, true), (Strings{"a", "_b"}));
  EXPECT_EQ(words(" a", Prepend::kFirst, true), (Strings{"_a"}));
  EXPECT_EQ(words("a b", Prepend::kFirst, false), (Strings{"_a_b"}));
}

}  // namespace
}  // namespace unlearn
