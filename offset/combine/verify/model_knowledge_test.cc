#include "offset/combine/verify/model_knowledge.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/verify/test_laws.h"

namespace unlearn {
namespace {

TEST(ModelKnowledgeTest, BoundsContainTheTruth) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 20000; ++i) {
    const int vocabulary = 2 + random() % 12;
    const std::vector<float> model = RandomLogits(vocabulary, 4, random);
    const std::vector<double> truth = LogSoftmax(model, 1);
    const int known = 1 + random() % vocabulary;
    const double error = i % 3 == 0 ? 1e-12 : std::pow(10.0, -1.0 - random() % 6);
    const int32_t sampled = random() % vocabulary;
    const auto knowledge = KnowledgeOf(model, {known, error, 1.0, sampled});
    ASSERT_TRUE(knowledge.ok()) << knowledge.status();
    double mass = 0;
    for (int32_t id = 0; id < vocabulary; ++id) {
      const int at = knowledge->IndexOf(id);
      if (at >= 0) {
        ASSERT_EQ(knowledge->ids()[at], id);
        EXPECT_TRUE(knowledge->logprobs()[at].Contains(truth[id]));
        EXPECT_LE(knowledge->logprobs()[at].hi, 0);
      } else {
        EXPECT_LE(truth[id], knowledge->unknown_cap());
        mass += std::exp(truth[id]);
      }
    }
    EXPECT_GE(knowledge->IndexOf(sampled), 0);
    EXPECT_LE(knowledge->unknown_mass().lo, mass + 1e-15);
    EXPECT_GE(knowledge->unknown_mass().hi, mass - 1e-15);
  }
}

TEST(ModelKnowledgeTest, TheSampledTokenDoesNotLowerTheCap) {
  const std::vector<int32_t> ids = {4, 2};
  const std::vector<double> logprobs = {std::log(0.5), std::log(0.2)};
  const auto knowledge =
      ModelKnowledge::Create({ids, logprobs, TokenLogprob{7, std::log(0.01)}, 10, 0, 1});
  ASSERT_TRUE(knowledge.ok());
  EXPECT_EQ(knowledge->unknown(), 7);
  EXPECT_DOUBLE_EQ(knowledge->unknown_cap(), std::log(0.2));
  EXPECT_NEAR(knowledge->unknown_mass().hi, 0.29, 1e-12);
  EXPECT_EQ(knowledge->IndexOf(7), 2);
  EXPECT_EQ(knowledge->IndexOf(3), -1);
}

struct Lie {
  const char* what;
  std::vector<int32_t> ids;
  std::vector<double> logprobs;
  absl::optional<TokenLogprob> sampled;
  int32_t vocabulary;
  double error;
  double temperature;
};

TEST(ModelKnowledgeTest, RefusesWhatNoLawCanHave) {
  const double half = std::log(0.5);
  const double third = std::log(1.0 / 3);
  const Lie lies[] = {
      {"empty", {}, {}, {}, 10, 0, 1},
      {"ids but", {1, 2}, {half}, {}, 10, 0, 1},
      {"is above 0", {1}, {NAN}, {}, 10, 0, 1},
      {"is above 0", {1}, {0.1}, {}, 10, 0.01, 1},
      {"is above 0", {1}, {INFINITY}, {}, 10, 0, 1},
      {"outside the vocabulary", {10}, {half}, {}, 10, 0, 1},
      {"outside the vocabulary", {-1}, {half}, {}, 10, 0, 1},
      {"twice", {1, 1}, {half, third}, {}, 10, 0, 1},
      {"twice", {1}, {half}, TokenLogprob{1, third}, 10, 0, 1},
      {"is above the one before", {1, 2}, {third, half}, {}, 10, 0, 1},
      {"above the end of the list",
       {1, 2},
       {half, std::log(0.1)},
       TokenLogprob{3, third},
       10,
       0,
       1},
      {"more than 1", {1, 2, 3}, {half, half, half}, {}, 10, 0, 1},
      {"is missing", {1}, {std::log(0.01)}, {}, 10, 0, 1},
      {"is missing", {0, 1}, {half, third}, {}, 2, 0, 1},
      {"of a vocabulary of", {0, 1}, {half, third}, {}, 1, 0, 1},
      {"error of", {1}, {half}, {}, 10, NAN, 1},
      {"error of", {1}, {half}, {}, 10, -1, 1},
      {"temperature of", {1}, {half}, {}, 10, 0, 0},
      {"temperature of", {1}, {half}, {}, 10, 0, NAN},
  };
  for (const Lie& lie : lies) {
    const auto knowledge = ModelKnowledge::Create(
        {lie.ids, lie.logprobs, lie.sampled, lie.vocabulary, lie.error, lie.temperature});
    ASSERT_EQ(knowledge.status().code(), absl::StatusCode::kInvalidArgument) << lie.what;
    EXPECT_NE(knowledge.status().message().find(lie.what), std::string::npos)
        << knowledge.status() << " does not say: " << lie.what;
  }
}

TEST(ModelKnowledgeTest, RoundedMassesAboveOneAreAllowedWithinTheError) {
  const std::vector<int32_t> ids = {0, 1};
  const std::vector<double> logprobs = {-0.69, -0.69};  // sum 1.003, rounded to two digits
  EXPECT_FALSE(ModelKnowledge::Create({ids, logprobs, {}, 4, 1e-4, 1}).ok());
  const auto knowledge = ModelKnowledge::Create({ids, logprobs, {}, 4, 0.005, 1});
  ASSERT_TRUE(knowledge.ok()) << knowledge.status();
  EXPECT_EQ(knowledge->unknown_mass().lo, 0);
  EXPECT_GT(knowledge->unknown_mass().hi, 0);
}

TEST(ModelKnowledgeTest, ZeroProbabilitiesAreKnowledge) {
  const std::vector<int32_t> ids = {3, 1};
  const std::vector<double> logprobs = {0, -INFINITY};
  const auto knowledge = ModelKnowledge::Create({ids, logprobs, {}, 100, 0, 1});
  ASSERT_TRUE(knowledge.ok()) << knowledge.status();
  EXPECT_EQ(knowledge->unknown_mass().hi, 0);
}

}  // namespace
}  // namespace unlearn
