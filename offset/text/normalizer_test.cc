#include "offset/text/normalizer.h"

#include <gtest/gtest.h>

namespace unlearn {
namespace {

TEST(NormalizerTest, NoFormsLeaveTheText) {
  EXPECT_EQ(*Normalizer().Apply("e\u0301"), "e\u0301");
  EXPECT_TRUE(Normalizer().empty());
}

TEST(NormalizerTest, EachForm) {
  const std::string text = "e\u0301 \uFB01 \u212B \u1100\u1161 \u0958";
  EXPECT_EQ(*Normalizer({NormalizationForm::kNfc}).Apply(text),
            "\u00E9 \uFB01 \u00C5 \uAC00 \u0915\u093C");
  EXPECT_EQ(*Normalizer({NormalizationForm::kNfd}).Apply(text),
            "e\u0301 \uFB01 A\u030A \u1100\u1161 \u0915\u093C");
  EXPECT_EQ(*Normalizer({NormalizationForm::kNfkc}).Apply(text),
            "\u00E9 fi \u00C5 \uAC00 \u0915\u093C");
  EXPECT_EQ(*Normalizer({NormalizationForm::kNfkd}).Apply(text),
            "e\u0301 fi A\u030A \u1100\u1161 \u0915\u093C");
}

TEST(NormalizerTest, FormsApplyInOrder) {
  EXPECT_EQ(*Normalizer({NormalizationForm::kNfd, NormalizationForm::kNfc}).Apply("\u00E9"),
            "\u00E9");
  EXPECT_EQ(*Normalizer({NormalizationForm::kNfc, NormalizationForm::kNfd}).Apply("\u00E9"),
            "e\u0301");
}

TEST(NormalizerTest, KeepsNulAndUnassigned) {
  const std::string text("a\0e\xCC\x81\xEF\xBF\xBF", 8);
  EXPECT_EQ(*Normalizer({NormalizationForm::kNfc}).Apply(text),
            std::string("a\0\xC3\xA9\xEF\xBF\xBF", 7));
}

}  // namespace
}  // namespace unlearn
