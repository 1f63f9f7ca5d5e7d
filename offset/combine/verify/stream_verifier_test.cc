#include "offset/combine/verify/stream_verifier.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/verify/stream_row.h"
#include "offset/combine/verify/test_cases.h"

namespace unlearn {
namespace {

StreamVerdict Exact(const Rows& rows, const SamplingOptions& options, int32_t sampled,
                    const StreamDraw& draw, const ModelKnowledge& knowledge) {
  const auto verdict =
      VerifyStreamedRow(rows.model, rows.ensemble, options, sampled, draw, knowledge.ids());
  EXPECT_TRUE(verdict.ok()) << verdict.status();
  return *verdict;
}

// Whether M's stream would draw this at all. What it draws once in 10^8 times is left out:
// residuals that small are the difference of two numbers near 1.
bool Drawn(const Rows& rows, const SamplingOptions& options, int32_t sampled) {
  const double temperature = options.temperature == 0 ? 1 : options.temperature;
  return LogSoftmax(rows.model, temperature)[sampled] > std::log(1e-8);
}

StreamVerdict Partial(const TestCase& test, int32_t sampled, const StreamDraw& draw,
                      absl::Span<const int32_t> earlier = {}) {
  const auto verifier =
      StreamVerifier::Create(test.model_knowledge, test.pair(), test.options, earlier);
  EXPECT_TRUE(verifier.ok()) << verifier.status();
  const auto verdict = verifier->Verify(sampled, draw);
  EXPECT_TRUE(verdict.ok()) << verdict.status();
  return *verdict;
}

TEST(StreamVerifierTest, DecidedVerdictsHoldInEveryLawThatIsPossible) {
  std::mt19937_64 random(30);
  int accepted = 0, replaced = 0, undecided = 0;
  for (uint32_t i = 0; i < 150000; ++i) {
    TestCase test = RandomCase(random);
    const int32_t sampled =
        test.model_knowledge.ids()[random() % test.model_knowledge.ids().size()];
    const StreamDraw draw = StreamDrawOf({3, 0, i});
    const StreamVerdict verdict = Partial(test, sampled, draw);
    accepted += verdict.outcome == StreamOutcome::kAccepted;
    replaced += verdict.outcome == StreamOutcome::kReplaced;
    undecided += verdict.outcome == StreamOutcome::kUndecided;
    for (int other = 0; other < 4; ++other) {
      const Rows rows = other == 0 ? test.rows : test.Alternative(random);
      if (rows.model.empty() || !Drawn(rows, test.options, sampled)) continue;
      const StreamVerdict exact = Exact(rows, test.options, sampled, draw, test.model_knowledge);
      EXPECT_LE(verdict.acceptance.lo, exact.acceptance.lo + 1e-9) << test;
      EXPECT_GE(verdict.acceptance.hi, exact.acceptance.lo - 1e-9) << test;
      EXPECT_TRUE(!verdict.rejected || exact.rejected) << test;
      if (verdict.outcome == StreamOutcome::kUndecided) continue;
      EXPECT_EQ(verdict.token, exact.token) << test << " x " << sampled << " u " << draw.uniform;
      EXPECT_EQ(verdict.outcome == StreamOutcome::kAccepted,
                exact.outcome == StreamOutcome::kAccepted)
          << test;
      EXPECT_LE(verdict.logprob.lo, exact.logprob.lo + 1e-9) << test;
      EXPECT_GE(verdict.logprob.hi, exact.logprob.lo - 1e-9) << test;
    }
  }
  // Not vacuous. (Every third token is drawn at random from the list, not from M.)
  EXPECT_GT(accepted, 40000);
  EXPECT_GT(replaced, 20000);
  EXPECT_GT(undecided, 1000);
}

TEST(StreamVerifierTest, MoreKnowledgeNeverContradictsADecidedVerdict) {
  std::mt19937_64 random(31);
  int gained = 0;
  for (uint32_t i = 0; i < 15000; ++i) {
    TestCase test = RandomCase(random);
    const int32_t sampled = random() % test.rows.model.size();
    const StreamDraw draw = StreamDrawOf({4, 0, i});
    if (!Drawn(test.rows, test.options, sampled)) continue;
    std::vector<int32_t> earlier;
    int32_t answer = -1;
    bool rejected = false;
    for (int known = 1; known <= test.rows.model.size(); ++known) {
      for (const double error : {1e-2, 1e-5}) {
        test.Ask({known, error, 1.0, sampled});
        for (const bool all_rows : {false, true}) {
          test.all_rows = all_rows;
          const StreamVerdict verdict = Partial(test, sampled, draw, earlier);
          EXPECT_TRUE(!rejected || verdict.rejected || verdict.token < 0) << test;
          rejected |= verdict.rejected;
          if (verdict.token >= 0) {
            EXPECT_TRUE(answer < 0 || answer == verdict.token) << test;
            gained += answer < 0 && known > 1;
            answer = verdict.token;
          }
          earlier.assign(test.model_knowledge.ids().begin(), test.model_knowledge.ids().end());
        }
      }
    }
    const StreamVerdict exact = Exact(test.rows, test.options, sampled, draw, test.model_knowledge);
    EXPECT_TRUE(answer < 0 || answer == exact.token) << test;
  }
  EXPECT_GT(gained, 2000);
}

TEST(StreamVerifierTest, ADeltaOfZerosAcceptsEverything) {
  std::mt19937_64 random(32);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int i = 0; i < 20000; ++i) {
    TestCase test = RandomCase(random);
    if (i % 2 == 0) {
      test.alpha = 0;
    } else {
      std::fill(test.rows.delta.begin(), test.rows.delta.end(), 0.0f);
    }
    test.Combine();
    test.options = {test.options.temperature > 0 ? test.options.temperature : 0.7f, 0, 0, 1};
    const int32_t sampled = random() % test.rows.model.size();
    test.Ask({test.question.known, test.question.error, 1.0, sampled});
    const double u = i % 3 == 0 ? std::nextafter(1.0, 0.0) : uniform(random);
    const StreamVerdict verdict = Partial(test, sampled, {u, {}});
    EXPECT_EQ(verdict.outcome, StreamOutcome::kAccepted) << test;
    EXPECT_EQ(verdict.acceptance.lo, 1);
    EXPECT_EQ(Exact(test.rows, test.options, sampled, {u, {}}, test.model_knowledge).token,
              sampled);
  }
}

struct LawCase {
  int vocabulary;
  double alpha;
  SamplingOptions options;
  int known;
  double error;
  bool all_rows;
  bool at_sampling_temperature;
};

// M's stream, the verdict from the top k, then from a longer list, then from the full row, all with
// one draw: 20 laws of 200,000 draws each (4 million), each a false alarm in 10^6.
TEST(StreamVerifierTest, ResolvedDrawsFollowTheExactLaw) {
  const LawCase cases[] = {
      {4, 1, {1, 0, 0, 1}, 2, 1e-5, false, false},
      {8, 1, {1, 0, 0, 1}, 4, 1e-2, true, false},
      {16, 0.5, {1.7f, 0, 0, 1}, 5, 1e-5, false, false},
      {16, 0.5, {1.7f, 0, 0, 1}, 5, 1e-5, true, true},
      {12, -1, {0.3f, 0, 0, 1}, 4, 1e-4, false, false},
      {12, 4, {1, 0, 0, 1}, 6, 1e-5, true, false},
      {10, 4, {1.7f, 0, 0, 1}, 3, 1e-3, false, true},
      {6, 0, {1.7f, 0, 0, 1}, 2, 1e-2, false, false},
      {8, 1, {1, 0, 0, 0.8f}, 4, 1e-5, false, false},
      {16, 1, {1, 0, 0, 0.5f}, 8, 1e-5, true, false},
      {9, -1, {1.7f, 0, 3, 1}, 5, 1e-5, false, false},
      {9, 0.5, {0.3f, 0, 4, 1}, 5, 1e-4, true, false},
      {10, 1, {1, 0.1f, 0, 1}, 5, 1e-5, false, false},
      {14, 4, {1.7f, 0.02f, 8, 0.9f}, 9, 1e-5, true, false},
      {14, -1, {1, 0.05f, 6, 0.95f}, 7, 1e-5, false, true},
      {5, 0, {1, 0, 2, 1}, 3, 1e-5, false, false},
      {7, 1, {0, 0, 0, 1}, 3, 1e-5, false, false},
      {7, 4, {0, 0, 0, 1}, 2, 1e-5, true, false},
      {16, 1, {1, 0, 0, 1}, 1, 1e-5, false, false},
      {4, 0.5, {0.3f, 0, 0, 0.9f}, 1, 1e-2, true, false},
  };
  constexpr int kDraws = 200000;
  std::mt19937_64 random(33);
  int64_t first_decided = 0, second_decided = 0, by_row = 0;
  uint64_t seed = 500;
  for (const LawCase& law_case : cases) {
    TestCase test;
    test.rows.model = RandomLogits(law_case.vocabulary, 1.5, random);
    test.rows.delta = RandomLogits(law_case.vocabulary, 0.6, random);
    test.alpha = law_case.alpha;
    test.options = law_case.options;
    test.all_rows = law_case.all_rows;
    test.Combine();
    const double of = law_case.at_sampling_temperature ? test.options.temperature : 1.0;
    // What is known depends on x alone; so do the verifiers.
    std::vector<StreamVerifier> few, more;
    std::vector<ModelKnowledge> most;
    for (int32_t x = 0; x < law_case.vocabulary; ++x) {
      test.Ask({law_case.known, law_case.error, of, x});
      few.push_back(
          StreamVerifier::Create(test.model_knowledge, test.pair(), test.options).value());
      const ModelKnowledge earlier = test.model_knowledge;
      test.Ask({2 * law_case.known, law_case.error, of, x});
      more.push_back(
          StreamVerifier::Create(test.model_knowledge, test.pair(), test.options, earlier.ids())
              .value());
      // The same order but for x itself, which has no residual.
      most.push_back(test.model_knowledge);
    }
    const std::vector<double> model_law =
        WarpedLaw(test.rows.model, {test.options.temperature, 0, 0, 1});
    std::discrete_distribution<int32_t> stream(model_law.begin(), model_law.end());
    std::vector<int64_t> counts(law_case.vocabulary);
    for (uint32_t i = 0; i < kDraws; ++i) {
      const int32_t x = stream(random);
      const StreamDraw draw = StreamDrawOf({seed, 0, i});
      StreamVerdict verdict = few[x].Verify(x, draw).value();
      if (verdict.token >= 0) {
        ++first_decided;
      } else {
        verdict = more[x].Verify(x, draw).value();
        if (verdict.token >= 0) {
          ++second_decided;
        } else {
          ++by_row;
          verdict = Exact(test.rows, test.options, x, draw, most[x]);
        }
      }
      ++counts[verdict.token];
    }
    ++seed;
    const ChiSquare fit = CompareWithLaw(counts, WarpedLaw(test.rows.ensemble, test.options));
    EXPECT_LT(fit.statistic, fit.limit) << test;
    EXPECT_FALSE(fit.impossible_seen) << test;
  }
  EXPECT_GT(first_decided, 1000000);
  EXPECT_GT(second_decided, 10000);
  EXPECT_GT(by_row, 10000);
  RecordProperty("first_decided", std::to_string(first_decided));
  RecordProperty("second_decided", std::to_string(second_decided));
  RecordProperty("by_row", std::to_string(by_row));
}

// The exact rule by itself, and with an odd order of the residual.
TEST(StreamVerifierTest, TheExactRuleHasTheExactLawInAnyOrder) {
  std::mt19937_64 random(34);
  for (int i = 0; i < 6; ++i) {
    TestCase test = RandomCase(random);
    while (test.rows.model.size() < 4 || test.options.temperature == 0) test = RandomCase(random);
    const std::vector<double> model_law =
        WarpedLaw(test.rows.model, {test.options.temperature, 0, 0, 1});
    std::discrete_distribution<int32_t> stream(model_law.begin(), model_law.end());
    std::vector<int64_t> counts(test.rows.model.size());
    const std::vector<int32_t> earlier =
        i % 2 == 0 ? std::vector<int32_t>{3, 1, 2} : std::vector<int32_t>{};
    for (uint32_t draw = 0; draw < 200000; ++draw) {
      const int32_t x = stream(random);
      ++counts[VerifyStreamedRow(test.rows.model, test.rows.ensemble, test.options, x,
                                 StreamDrawOf({static_cast<uint64_t>(900 + i), 0, draw}), earlier)
                   ->token];
    }
    const ChiSquare fit = CompareWithLaw(counts, WarpedLaw(test.rows.ensemble, test.options));
    EXPECT_LT(fit.statistic, fit.limit) << test;
    EXPECT_FALSE(fit.impossible_seen) << test;
  }
}

TEST(StreamVerifierTest, EverythingKnownIsDecided) {
  std::mt19937_64 random(35);
  int asked = 0;
  int undecided = 0;
  for (uint32_t i = 0; i < 40000; ++i) {
    TestCase test = RandomCase(random);
    test.Ask({100, 0, 1, -1});
    const std::vector<double> law = WarpedLaw(test.rows.model, {test.options.temperature, 0, 0, 1});
    const int32_t sampled = std::discrete_distribution<int32_t>(law.begin(), law.end())(random);
    if (!Drawn(test.rows, test.options, sampled)) continue;
    const StreamVerdict verdict = Partial(test, sampled, StreamDrawOf({6, 0, i}));
    ++asked;
    undecided += verdict.outcome == StreamOutcome::kUndecided;
    EXPECT_LT(verdict.truncated_mass, 1e-9);
  }
  // What fp32 may do to z is left, some 10^-5 of a logit.
  EXPECT_GT(asked, 20000);
  EXPECT_LT(undecided, asked / 1000.0);
}

TEST(StreamVerifierTest, RefusesBadInput) {
  TestCase test;
  test.rows.model = {2, 1, 0, -1};
  test.rows.delta = {0.5f, 0, 0, 0};
  test.alpha = 1;
  test.options = {1, 0, 0, 1};
  test.Combine();
  test.Ask({2, 1e-5, 1, -1});
  const auto bad = absl::StatusCode::kInvalidArgument;
  const auto verifier = StreamVerifier::Create(test.model_knowledge, test.pair(), test.options);
  ASSERT_TRUE(verifier.ok());
  EXPECT_EQ(verifier->Verify(3, {0.5, {}}).status().code(), bad);
  EXPECT_EQ(verifier->Verify(0, {1.0, {}}).status().code(), bad);
  EXPECT_EQ(verifier->Verify(0, {NAN, {}}).status().code(), bad);
  const std::vector<int32_t> unknown = {3};
  const std::vector<int32_t> twice = {0, 0};
  const auto create = [&](const SamplingOptions& options, absl::Span<const int32_t> earlier) {
    return StreamVerifier::Create(test.model_knowledge, test.pair(), options, earlier)
        .status()
        .code();
  };
  EXPECT_EQ(create(test.options, unknown), bad);
  EXPECT_EQ(create(test.options, twice), bad);
  EXPECT_EQ(create({NAN, 0, 0, 1}, {}), bad);
  const auto row = [&](int32_t x, double u, absl::Span<const int32_t> earlier) {
    return VerifyStreamedRow(test.rows.model, test.rows.ensemble, test.options, x, {u, {}}, earlier)
        .status()
        .code();
  };
  EXPECT_EQ(row(4, 0.5, {}), bad);
  EXPECT_EQ(row(0, -0.5, {}), bad);
  EXPECT_EQ(row(0, 0.5, twice), bad);
  test.rows.model[1] = test.rows.ensemble[1] = -INFINITY;
  EXPECT_EQ(row(1, 0.5, {}), bad);
}

}  // namespace
}  // namespace unlearn
