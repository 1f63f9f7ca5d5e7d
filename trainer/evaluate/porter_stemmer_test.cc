#include "trainer/evaluate/porter_stemmer.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "trainer/evaluate/metric_vectors.h"

namespace unlearn {
namespace {

TEST(PorterStemmerTest, AgreesWithNltkOnEveryGoldenWord) {
  const nlohmann::json vectors = MetricVectors("stems");
  EXPECT_GT(vectors.size(), 1500);
  for (const nlohmann::json& vector : vectors) {
    const std::vector<std::string> pair = absl::StrSplit(vector.get<std::string>(), ' ');
    ASSERT_EQ(pair.size(), 2);
    EXPECT_EQ(PorterStem(pair[0]), pair[1]) << pair[0];
  }
}

TEST(PorterStemmerTest, WhereNltkLeavesPorter) {
  EXPECT_EQ(PorterStem("dies"), "die");
  EXPECT_EQ(PorterStem("flies"), "fli");
  EXPECT_EQ(PorterStem("enjoy"), "enjoy");
  EXPECT_EQ(PorterStem("fly"), "fli");
  EXPECT_EQ(PorterStem("skies"), "sky");
  EXPECT_EQ(PorterStem("geology"), "geolog");
}

TEST(PorterStemmerTest, ShortAndUpperCaseWords) {
  EXPECT_EQ(PorterStem(""), "");
  EXPECT_EQ(PorterStem("s"), "s");
  EXPECT_EQ(PorterStem("AS"), "as");
  EXPECT_EQ(PorterStem("Running"), "run");
  EXPECT_EQ(PorterStem("NEWS"), "news");
}

TEST(PorterStemmerTest, LongRunsOfYTakeLinearTime) {
  const std::string word(200'000, 'y');
  EXPECT_GE(PorterStem(word).size(), word.size() - 1);
}

}  // namespace
}  // namespace unlearn
