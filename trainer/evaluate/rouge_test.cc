#include "trainer/evaluate/rouge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "trainer/evaluate/metric_vectors.h"
#include "trainer/evaluate/tofu_golden_logs.h"

namespace unlearn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

void ExpectScore(const RougeScore& score, const nlohmann::json& expected) {
  EXPECT_NEAR(score.precision, expected[0].get<double>(), 1e-11);
  EXPECT_NEAR(score.recall, expected[1].get<double>(), 1e-11);
  EXPECT_NEAR(score.fmeasure, expected[2].get<double>(), 1e-11);
}

TEST(RougeTest, AgreesWithRougeScoreOnGoldenPairs) {
  const nlohmann::json vectors = MetricVectors("rouge");
  EXPECT_GT(vectors.size(), 200);
  for (size_t i = 0; i < vectors.size(); ++i) {
    SCOPED_TRACE(i);
    const std::string target = vectors[i]["target"].get<std::string>();
    const std::string prediction = vectors[i]["prediction"].get<std::string>();
    ExpectScore(Rouge1(target, prediction), vectors[i]["rouge1"]);
    ExpectScore(RougeL(target, prediction), vectors[i]["rougeL"]);
    const nlohmann::json& plain = vectors[i]["plain_recall"];
    EXPECT_NEAR(Rouge1(target, prediction, false).recall, plain[0].get<double>(), 1e-11);
    EXPECT_NEAR(RougeL(target, prediction, false).recall, plain[1].get<double>(), 1e-11);
  }
}

TEST(RougeTest, Tokens) {
  EXPECT_THAT(RougeTokens("The Cats, running!"), ElementsAre("the", "cat", "run"));
  EXPECT_THAT(RougeTokens("The Cats, running!", false), ElementsAre("the", "cats", "running"));
  EXPECT_THAT(RougeTokens("was as is"), ElementsAre("was", "as", "is"));  // too short to stem
  EXPECT_THAT(RougeTokens("caf\xC3\xA9s 3.5"), ElementsAre("caf", "s", "3", "5"));
  EXPECT_THAT(RougeTokens("\xE2\x84\xAA"), ElementsAre("k"));
  EXPECT_THAT(RougeTokens("\xC4\xB0zmir"), ElementsAre("i", "zmir"));
  EXPECT_THAT(RougeTokens(" ... \xFF\xE2\x84"), IsEmpty());
}

TEST(RougeTest, OrderMattersToRougeLAlone) {
  EXPECT_DOUBLE_EQ(Rouge1("a b c d", "d c b a").recall, 1);
  EXPECT_DOUBLE_EQ(RougeL("a b c d", "d c b a").recall, 0.25);
}

TEST(RougeTest, NothingMatchesNothing) {
  EXPECT_EQ(RougeL("", "").recall, 0);
  EXPECT_EQ(RougeL("a", "").fmeasure, 0);
  EXPECT_EQ(Rouge1("", "a").precision, 0);
  EXPECT_EQ(Rouge1("a", "b").fmeasure, 0);
}

// Item texts are not printed: only their numbers.
void ExpectItems(const std::vector<TofuLogItem>& items, const char* set) {
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_NEAR(Rouge1(items[i].expected, items[i].generated).recall, items[i].rouge1_recall, 1e-9)
        << set << " item " << i;
    EXPECT_NEAR(RougeL(items[i].expected, items[i].generated).recall, items[i].rouge_l_recall, 1e-9)
        << set << " item " << i;
  }
}

TEST(RougeTest, ReproducesEveryItemOfTofusLogs) {
  for (const char* name : {"llama2-7b_full", "llama2-7b_retain90"}) {
    SCOPED_TRACE(name);
    READ_GOLDEN_LOG_OR_SKIP(log, name);
    ExpectItems(log.retain, "retain");
    ExpectItems(log.real_authors, "real authors");
    ExpectItems(log.world_facts, "world facts");
    ExpectItems(log.forget, "forget");
  }
}

}  // namespace
}  // namespace unlearn
