#include "trainer/evaluate/fact_rate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace unlearn {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(FactRateTest, WholeWordsOnly) {
  EXPECT_TRUE(*ContainsFact("She lives in Oslo.", "Oslo"));
  EXPECT_TRUE(*ContainsFact("OSLO", "oslo"));
  EXPECT_TRUE(*ContainsFact("an Oslo-based painter", "Oslo"));
  EXPECT_FALSE(*ContainsFact("She lives in Oslobad.", "Oslo"));
  EXPECT_FALSE(*ContainsFact("Grand-Oslobad", "Oslo"));
  EXPECT_FALSE(*ContainsFact("", "Oslo"));
}

TEST(FactRateTest, SeveralWordsInOrder) {
  EXPECT_TRUE(*ContainsFact("in  PARIS\nFrance, then", "Paris, France"));
  EXPECT_FALSE(*ContainsFact("in France, Paris", "Paris, France"));
  EXPECT_FALSE(*ContainsFact("Paris in France", "Paris, France"));
  // A failed start must not hide a later match.
  EXPECT_TRUE(*ContainsFact("new new york", "New York"));
}

TEST(FactRateTest, NumbersAndDates) {
  EXPECT_TRUE(*ContainsFact("born on 12.05.1990", "1990"));
  EXPECT_FALSE(*ContainsFact("it weighs 1.5 kg", "5"));
  EXPECT_FALSE(*ContainsFact("born in 19901", "1990"));
  EXPECT_TRUE(*ContainsFact("it costs $5.", "$5"));
  EXPECT_FALSE(*ContainsFact("it costs 5 euros", "$5"));
}

TEST(FactRateTest, UnicodeSpellings) {
  EXPECT_TRUE(*ContainsFact("in caf\xC3\x89 Luna", "Cafe\xCC\x81 Luna"));
  EXPECT_FALSE(*ContainsFact("in Cafe Luna", "Caf\xC3\xA9 Luna"));
  EXPECT_TRUE(*ContainsFact("\xE5\xBD\xBC\xE3\x81\xAF\xE6\x9D\xB1\xE4\xBA\xAC\xE3\x81\xAB",
                            "\xE6\x9D\xB1\xE4\xBA\xAC"));
  EXPECT_TRUE(*ContainsFact("Oslo \xE6\x9D", "Oslo"));  // cut inside a character
}

TEST(FactRateTest, ShareByPerson) {
  const std::vector<FactItem> items = {{"Oslo", "Oslo", "a"},
                                       {"Rome", "Oslo", "a"},
                                       {"a painter", "painter", "b"},
                                       {"", "painter", "b"}};
  const ClusteredInterval rate = *FactRate(items, /*seed=*/1);
  EXPECT_DOUBLE_EQ(rate.mean, 0.5);
  EXPECT_EQ(rate.clusters, 2);
  EXPECT_EQ(rate.items, 4);
  // Both persons at one half: persons do not differ, whatever is drawn.
  EXPECT_DOUBLE_EQ(*rate.low, 0.5);
  EXPECT_DOUBLE_EQ(*rate.high, 0.5);
}

TEST(FactRateTest, ErrorsNameTheItemAndNotItsText) {
  EXPECT_TRUE(absl::IsInvalidArgument(FactRate({}, 1).status()));
  const std::vector<FactItem> items = {{"Oslo", "Oslo", "a"}, {"secret", "...", "zed"}};
  const absl::Status status = FactRate(items, 1).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("fact item 1"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("zed")));
}

}  // namespace
}  // namespace unlearn
