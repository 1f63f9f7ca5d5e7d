#include "offset/combine/verify/certificate.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/verify/test_cases.h"

namespace unlearn {
namespace {

constexpr double kScoreError = 1e-4;

TEST(CertificateTest, ACertifiedTokenIsLockstepsInEveryLawThatIsPossible) {
  std::mt19937_64 random(20);
  int decided = 0;
  int unknown_mattered = 0;
  for (uint32_t i = 0; i < 100000; ++i) {
    const TestCase test = RandomCase(random);
    const NoiseKey key{7, 0, i};
    const auto certificate =
        CertifyToken(test.model_knowledge, test.pair(), test.options, key, kScoreError);
    ASSERT_TRUE(certificate.ok());
    if (!certificate->decided) {
      EXPECT_EQ(certificate->token, -1);
      EXPECT_GE(certificate->shortfall, 0);
      continue;
    }
    ++decided;
    unknown_mattered += test.model_knowledge.unknown() > 0;
    for (int other = 0; other < 4; ++other) {
      const Rows rows = other == 0 ? test.rows : test.Alternative(random);
      if (rows.model.empty()) continue;
      const SampledToken token = SampleToken(rows.ensemble, test.options, key);
      EXPECT_EQ(certificate->token, token.id) << test;
      EXPECT_LE(certificate->logprob.lo, token.logprob + 1e-5) << test;
      EXPECT_GE(certificate->logprob.hi, token.logprob - 1e-5) << test;
      double known = 0;
      const std::vector<double> law = LogSoftmax(rows.model, test.question.temperature);
      for (const int32_t id : test.model_knowledge.ids()) known += std::exp(law[id]);
      EXPECT_GE(certificate->truncated_mass, 1 - known - 1e-9);
    }
  }
  EXPECT_GT(decided, 50000);
  EXPECT_GT(unknown_mattered, 20000);
}

TEST(CertificateTest, MoreKnowledgeNeverFlipsAnAnswer) {
  std::mt19937_64 random(21);
  int gained = 0;
  for (uint32_t i = 0; i < 20000; ++i) {
    TestCase test = RandomCase(random);
    const NoiseKey key{8, 0, i};
    int32_t answer = -1;
    for (int known = 1; known <= test.rows.model.size(); ++known) {
      test.Ask({known, 1e-4, 1.0, test.question.sampled});
      for (const bool all_rows : {false, true}) {
        test.all_rows = all_rows;
        const auto certificate =
            CertifyToken(test.model_knowledge, test.pair(), test.options, key, kScoreError);
        if (!certificate->decided) continue;
        gained += answer < 0 && known > 1;
        EXPECT_TRUE(answer < 0 || certificate->token == answer) << test;
        answer = certificate->token;
      }
    }
    if (answer >= 0) {
      EXPECT_EQ(answer, SampleToken(test.rows.ensemble, test.options, key).id) << test;
    }
  }
  EXPECT_GT(gained, 5000);
}

// What is certified, and SampleToken's answer where nothing is, have together the ensemble's law:
// 10 laws of 100,000 draws, each a false alarm in 10^6.
TEST(CertificateTest, CertifiedAndResolvedDrawsFollowTheExactLaw) {
  std::mt19937_64 random(22);
  int64_t decided = 0;
  for (int i = 0; i < 10; ++i) {
    TestCase test;
    test.rows.model = RandomLogits(4 + i, 2, random);
    test.rows.delta = RandomLogits(4 + i, 0.7, random);
    test.alpha = std::vector<double>{0, 0.5, 1, -1, 4}[i % 5];
    test.options.temperature = std::vector<float>{0.3f, 1, 1.7f}[i % 3];
    if (i % 4 == 1) test.options.top_p = 0.8f;
    if (i % 4 == 2) test.options.top_k = 3;
    if (i % 4 == 3) test.options.min_p = 0.05f;
    test.Combine();
    test.Ask({3, 1e-5, 1, -1});
    std::vector<int64_t> counts(test.rows.model.size());
    for (uint32_t draw = 0; draw < 100000; ++draw) {
      const NoiseKey key{static_cast<uint64_t>(100 + i), 0, draw};
      const auto certificate =
          CertifyToken(test.model_knowledge, test.pair(), test.options, key, kScoreError);
      decided += certificate->decided;
      ++counts[certificate->decided ? certificate->token
                                    : SampleToken(test.rows.ensemble, test.options, key).id];
    }
    const ChiSquare fit = CompareWithLaw(counts, WarpedLaw(test.rows.ensemble, test.options));
    EXPECT_LT(fit.statistic, fit.limit) << test;
    EXPECT_FALSE(fit.impossible_seen) << test;
  }
  EXPECT_GT(decided, 300000);
}

TEST(CertificateTest, GreedyTiesGoToTheLowerIdWhenNothingIsRounded) {
  const std::vector<int32_t> ids = {5, 2, 7};
  const std::vector<double> logprobs = {std::log(0.3), std::log(0.3), std::log(0.3)};
  const auto model = ModelKnowledge::Create({ids, logprobs, {}, 10, 0, 1});
  const std::vector<float> delta = {0, 0, 0};
  PairKnowledge pair;
  pair.delta = delta;
  // The unknown ones may have 0.1 together: below 0.3, but a cap of 0.3 is all that is said.
  const auto undecided = CertifyToken(*model, pair, {}, {}, 0);
  EXPECT_FALSE(undecided->decided);
  EXPECT_TRUE(undecided->rival_unknown);
  const std::vector<int32_t> four = {5, 2, 7, 0};
  const std::vector<double> four_logprobs = {logprobs[0], logprobs[1], logprobs[2], std::log(0.05)};
  const std::vector<float> four_delta = {0, 0, 0, 0};
  const auto more = ModelKnowledge::Create({four, four_logprobs, {}, 10, 0, 1});
  pair.delta = four_delta;
  EXPECT_EQ(CertifyToken(*more, pair, {}, {}, 0)->token, 2);
}

TEST(CertificateTest, LooksAtAllNoiseOnlyWhereItMust) {
  const std::vector<int32_t> ids = {1, 0};
  const std::vector<double> logprobs = {0, std::log(1e-30)};
  const auto model = ModelKnowledge::Create({ids, logprobs, {}, 3, 1e-16, 1});
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<float> delta = {0, 0};
  PairKnowledge pair;
  pair.delta = delta;
  int asked = 0;
  const auto certificate = CertifyToken(*model, pair, {1, 0, 0, 1}, {}, 1e-5, [&] {
    ++asked;
    return 0.0;
  });
  EXPECT_EQ(certificate->token, 1);
  EXPECT_EQ(asked, 0);
}

TEST(CertificateTest, RefusesBadInput) {
  const std::vector<int32_t> ids = {1};
  const std::vector<double> logprobs = {std::log(0.5)};
  const auto model = ModelKnowledge::Create({ids, logprobs, {}, 3, 0, 1});
  const std::vector<float> delta = {0, 0, 0};
  const std::vector<float> nan = {NAN};
  const auto code = [&](const PairKnowledge& pair, const SamplingOptions& options, double error) {
    return CertifyToken(*model, pair, options, {}, error).status().code();
  };
  const absl::Span<const float> one = absl::MakeConstSpan(delta).first(1);
  EXPECT_EQ(code({one, false, 1, 1, 0}, {}, 0), absl::StatusCode::kOk);
  const auto bad = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code({delta, false, 1, 1, 0}, {}, 0), bad);
  EXPECT_EQ(code({one, true, 1, 1, 0}, {}, 0), bad);
  EXPECT_EQ(code({nan, false, 1, 1, 0}, {}, 0), bad);
  EXPECT_EQ(code({one, false, -1, 1, 0}, {}, 0), bad);
  EXPECT_EQ(code({one, false, NAN, 1, 0}, {}, 0), bad);
  EXPECT_EQ(code({one, false, INFINITY, 1, 0}, {}, 0), bad);
  EXPECT_EQ(code({one, false, 1, INFINITY, 0}, {}, 0), bad);
  EXPECT_EQ(code({one, false, 1, 1e300, 0}, {}, 0), bad);
  EXPECT_EQ(code({one, false, 1, 1, -1}, {}, 0), bad);
  EXPECT_EQ(code({one, false, 1, 1, 0}, {-1, 0, 0, 1}, 0), bad);
  EXPECT_EQ(code({one, false, 1, 1, 0}, {}, NAN), bad);
}

// The bounds that callers put into `error` and `score_error`, against arithmetic in double.
TEST(CertificateTest, RoundingBoundsHold) {
  std::mt19937_64 random(23);
  for (int i = 0; i < 3000; ++i) {
    const std::vector<float> model = RandomLogits(50, 10, random);
    const std::vector<float> delta = RandomLogits(50, 3, random);
    const double alpha = std::vector<double>{0.3, 1, -1.7, 4}[i % 4];
    std::vector<float> ensemble(50);
    ASSERT_TRUE(Combine(model, delta, alpha, absl::MakeSpan(ensemble)).ok());
    double largest = 0;
    double effect = 0;
    for (int id = 0; id < 50; ++id) {
      largest = std::max(largest, std::abs(static_cast<double>(model[id])));
      effect = std::max(effect, std::abs(static_cast<float>(alpha) * double{delta[id]}));
    }
    const float temperature = std::vector<float>{0.3f, 1, 1.7f}[i % 3];
    for (int id = 0; id < 50; ++id) {
      const double z = double{model[id]} + static_cast<float>(alpha) * double{delta[id]};
      EXPECT_LE(std::abs(z - ensemble[id]), CombineRounding(largest, effect));
      const float noise = GumbelNoise({1, 0, static_cast<uint32_t>(i)}, id);
      const float score = ensemble[id] * (1.0f / temperature) + noise;
      EXPECT_LE(std::abs(score - (double{ensemble[id]} / temperature + noise)),
                ScoreRounding(largest + effect + 1, temperature));
    }
  }
}

}  // namespace
}  // namespace unlearn
