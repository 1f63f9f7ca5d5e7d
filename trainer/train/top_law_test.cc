#include "trainer/train/top_law.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "gtest/gtest.h"
#include "offset/combine/combiner.h"
#include "offset/combine/sampler.h"
#include "trainer/train/top_upstream.h"

namespace unlearn {
namespace {

constexpr int kTokens = 40;

UpstreamInfo Model() {
  UpstreamInfo model;
  model.vocab_size = kTokens + 4;
  model.top = 8;
  model.most_top = kTokens;
  model.logprob_error = 1e-6;
  model.normaliser_error = 1e-5;
  return model;
}

std::vector<float> RandomRow(std::mt19937& random, double spread) {
  std::normal_distribution<float> normal(0, static_cast<float>(spread));
  std::vector<float> row(kTokens);
  for (float& value : row) value = normal(random);
  return row;
}

TopLaw Law(absl::Span<const float> row, int k) {
  const auto law = TopLaw::Create(TopUpstream::TopOf(row, k), Model(), kTokens);
  EXPECT_TRUE(law.ok()) << law.status();
  return *law;
}

std::vector<float> Filled(const TopLaw& law) {
  std::vector<float> row(kTokens);
  FillRow(law.ids(), law.logits(), law.other_logit(), kTokens, absl::MakeSpan(row));
  return row;
}

// log softmax of z = row + alpha delta.
std::vector<double> EnsembleLogprobs(absl::Span<const float> row, absl::Span<const float> delta,
                                     double alpha) {
  std::vector<double> z(row.size());
  double sum = 0;
  for (size_t i = 0; i < z.size(); ++i) {
    z[i] = row[i] + alpha * delta[i];
    sum += std::exp(z[i]);
  }
  for (double& value : z) value -= std::log(sum);
  return z;
}

TEST(TopLawTest, WhatIsLeftIsSpreadEvenly) {
  TopRow top;
  top.ids = {7, 2, 30};
  top.logprobs = {std::log(0.5), std::log(0.2), std::log(0.1)};
  const TopLaw law = TopLaw::Create(top, Model(), kTokens).value();
  EXPECT_NEAR(law.tail_mass(), 0.2, 1e-4);
  EXPECT_GE(law.tail_mass(), 0.2);
  const std::vector<float> row = Filled(law);
  double sum = 0;
  for (const float logit : row) sum += 0.5 * std::exp(static_cast<double>(logit));
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_EQ(row[7], 0);
  EXPECT_NEAR(row[2], std::log(0.4), 1e-6);
  for (int id = 0; id < kTokens; ++id) {
    if (id == 7 || id == 2 || id == 30) continue;
    EXPECT_NEAR(row[id], std::log(0.2 / 37 / 0.5), 1e-5);
  }
}

TEST(TopLawTest, PaddedColumnsAreNoTokens) {
  const std::vector<int32_t> ids = {1};
  const std::vector<float> logits = {0};
  std::vector<float> row(6, 5);
  FillRow(ids, logits, -2, 4, absl::MakeSpan(row));
  EXPECT_EQ(row, (std::vector<float>{-2, 0, -2, -2, -INFINITY, -INFINITY}));
}

TEST(TopLawTest, AllTokensToldIsTheRowItself) {
  std::mt19937 random(1);
  for (int i = 0; i < 20; ++i) {
    const std::vector<float> row = RandomRow(random, 3);
    const TopLaw law = Law(row, kTokens);
    EXPECT_EQ(law.tail_mass(), 0);
    const float highest = *std::max_element(row.begin(), row.end());
    const std::vector<float> filled = Filled(law);
    for (int id = 0; id < kTokens; ++id) EXPECT_NEAR(filled[id], row[id] - highest, 1e-5);
  }
}

// Whatever mass rounding leaves: each other token has some, and never more than the last told one.
TEST(TopLawTest, NoTokenIsImpossibleAndNoneAboveTheLastTold) {
  std::mt19937 random(2);
  for (const double spread : {0.0, 0.1, 1.0, 5.0, 40.0}) {
    for (int k = 1; k < kTokens; ++k) {
      const TopLaw law = Law(RandomRow(random, spread), k);
      EXPECT_GT(law.other_logit(), -INFINITY);
      EXPECT_LE(law.other_logit(), law.logits().back() + 1e-4);
    }
  }
}

// What the comment promises of every law that M's answer allows.
TEST(TopLawTest, ErrorsAreWithinTheStatedBound) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> uniform(0, 1);
  const double alpha = 1.5;
  double tightest = 0;
  for (int i = 0; i < 300; ++i) {
    const std::vector<float> shape = RandomRow(random, 0.5 + 2 * uniform(random));
    const int k = 1 + static_cast<int>(uniform(random) * 20);
    const TopLaw law = Law(shape, k);
    const std::vector<float> even = Filled(law);
    const std::vector<float> delta = RandomRow(random, 1);
    float lowest = INFINITY, highest = -INFINITY;
    for (int id = 0; id < kTokens; ++id) {
      if (std::count(law.ids().begin(), law.ids().end(), id) > 0) continue;
      lowest = std::min(lowest, delta[id]);
      highest = std::max(highest, delta[id]);
    }
    double told = 0, others = 0;
    for (int id = 0; id < kTokens; ++id) {
      const bool is_told = std::count(law.ids().begin(), law.ids().end(), id) > 0;
      (is_told ? told : others) += std::exp(even[id] + alpha * (is_told ? delta[id] : lowest));
    }
    const double bound =
        std::log1p(others / (told + others) * std::expm1(alpha * (highest - lowest)));
    // `shape` itself is such a law: its tail is anything but even.
    const std::vector<double> guessed = EnsembleLogprobs(even, delta, alpha);
    const std::vector<double> truth = EnsembleLogprobs(shape, delta, alpha);
    for (const int32_t id : law.ids()) {
      EXPECT_LE(std::abs(guessed[id] - truth[id]), bound + 1e-4) << i;
      tightest = std::max(tightest, std::abs(guessed[id] - truth[id]) / bound);
    }
    const std::vector<float> nothing(kTokens, 0.0f);
    const std::vector<double> start = EnsembleLogprobs(even, nothing, alpha);
    const std::vector<double> model = EnsembleLogprobs(shape, nothing, alpha);
    for (const int32_t id : law.ids()) EXPECT_NEAR(start[id], model[id], 1e-4);
  }
  EXPECT_GT(tightest, 0.2) << "a bound that is far from all errors says nothing";
}

TEST(TopLawTest, TheCertifiedTokenIsThatOfTheWholeRow) {
  std::mt19937 random(4);
  int decided = 0, undecided = 0;
  for (int i = 0; i < 400; ++i) {
    const std::vector<float> row = RandomRow(random, 2);
    const std::vector<float> delta = RandomRow(random, 1.5);
    const TopLaw law = Law(row, 3);
    const Certificate certificate = law.MostLikely(delta, 1.2).value();
    if (!certificate.decided) {
      ++undecided;
      continue;
    }
    ++decided;
    std::vector<float> ensemble(kTokens);
    ASSERT_TRUE(Combine(row, delta, 1.2, absl::MakeSpan(ensemble)).ok());
    EXPECT_EQ(certificate.token, SampleToken(ensemble, SamplingOptions(), NoiseKey()).id);
    // The even law is one of those that are possible.
    ASSERT_TRUE(Combine(Filled(law), delta, 1.2, absl::MakeSpan(ensemble)).ok());
    EXPECT_EQ(certificate.token, SampleToken(ensemble, SamplingOptions(), NoiseKey()).id);
  }
  EXPECT_GT(decided, 50);
  EXPECT_GT(undecided, 50);
}

TEST(TopLawTest, WhatNoLawCanHaveIsAnError) {
  const auto code = [](const TopRow& top) {
    return TopLaw::Create(top, Model(), kTokens).status().code();
  };
  constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;
  EXPECT_EQ(code({{1, 2}, {-0.5, -1.5}}), absl::StatusCode::kOk);
  EXPECT_EQ(code({{}, {}}), kFailed);
  EXPECT_EQ(code({{1, 2}, {-0.5}}), kFailed);
  EXPECT_EQ(code({{1, 2}, {-0.5, NAN}}), kFailed);
  EXPECT_EQ(code({{1, 2}, {-0.5, -0.4}}), kFailed) << "not in order";
  EXPECT_EQ(code({{1, 2}, {-0.1, -0.1}}), kFailed) << "more than 1";
  EXPECT_EQ(code({{1, 2}, {-3, -9}}), kFailed) << "the others cannot have so much";
  EXPECT_EQ(code({{1, kTokens}, {-0.5, -1.5}}), kFailed) << "stands for no token";
  EXPECT_EQ(code({{1, 1}, {-0.5, -1.5}}), kFailed);
  const std::vector<float> delta(kTokens, NAN);
  EXPECT_EQ(TopLaw::Create({{1, 2}, {-0.5, -1.5}}, Model(), kTokens)
                ->MostLikely(delta, 1)
                .status()
                .code(),
            kFailed);
}

}  // namespace
}  // namespace unlearn
