#include "proxy/decode/certified_draw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "offset/combine/combiner.h"

namespace unlearn {
namespace {

constexpr int kVocabulary = 200;

struct Case {
  std::vector<float> model;  // logits, less their log sum of exponentials
  std::vector<float> delta;
  std::vector<float> ensemble;
  double alpha = 0;
};

Case MakeCase(std::mt19937& random, double alpha) {
  std::normal_distribution<double> normal;
  Case made;
  made.alpha = alpha;
  double sum = 0;
  std::vector<double> logits(kVocabulary);
  for (double& logit : logits) {
    logit = 2.5 * normal(random);
    sum += std::exp(logit);
  }
  for (const double logit : logits) {
    made.model.push_back(static_cast<float>(logit - std::log(sum)));
    made.delta.push_back(static_cast<float>(normal(random)));
  }
  made.ensemble.resize(kVocabulary);
  EXPECT_TRUE(Combine(made.model, made.delta, alpha, absl::MakeSpan(made.ensemble)).ok());
  return made;
}

TopRow TopOf(const Case& made, int top) {
  std::vector<int32_t> order(kVocabulary);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return made.model[a] > made.model[b]; });
  TopRow row;
  for (int i = 0; i < top; ++i) {
    row.ids.push_back(order[i]);
    row.logprobs.push_back(made.model[order[i]]);
  }
  return row;
}

UpstreamInfo Model() {
  UpstreamInfo model;
  model.vocab_size = kVocabulary;
  model.logprob_error = 2e-6;
  model.normaliser_error = 1e-3;
  return model;
}

// What is decided is lockstep's token over the same law, whatever was told; and what was undecided
// is settled by more.
TEST(CertifiedDrawTest, DecidedTokensAreLocksteps) {
  std::mt19937 random(5);
  SamplingOptions warps[4];
  warps[0].temperature = 0;
  warps[1].temperature = 1;
  warps[2].temperature = 0.6;
  warps[2].top_k = 12;
  warps[3].temperature = 1.3;
  warps[3].top_p = 0.8;
  for (const SamplingOptions& sampling : warps) {
    int undecided = 0, decided = 0;
    for (uint64_t seed = 0; seed < 300; ++seed) {
      const Case made = MakeCase(random, seed % 3 == 0 ? 0 : 1.5);
      const NoiseKey key = {seed, 0, 7};
      const SampledToken lockstep = SampleToken(made.ensemble, sampling, key);
      for (const int top : {5, 20, 80, kVocabulary}) {
        const auto draw = DrawFromTop(TopOf(made, top), Model(), made.delta, kVocabulary,
                                      made.alpha, sampling, key);
        ASSERT_TRUE(draw.ok()) << draw.status();
        if (!draw->decided) {
          ++undecided;
          EXPECT_EQ(draw->more_helps, top < kVocabulary);
          continue;
        }
        ++decided;
        ASSERT_EQ(draw->token.id, lockstep.id) << "seed " << seed << ", top " << top;
        EXPECT_NEAR(draw->token.logprob, lockstep.logprob, draw->logprob_error + 1e-5);
        if (top == kVocabulary) {
          EXPECT_LT(draw->truncated_mass, 2e-3);
        }
      }
    }
    EXPECT_GT(decided, 600) << sampling.temperature;
    EXPECT_GT(undecided, 0) << "five tokens of 200 cannot always be enough";
  }
}

TEST(CertifiedDrawTest, WhatNoLawHasIsAnError) {
  std::mt19937 random(6);
  const Case made = MakeCase(random, 1);
  const auto draw = [&](const TopRow& top, std::vector<float> delta, int64_t tokens) {
    return DrawFromTop(top, Model(), delta, tokens, 1, SamplingOptions(), {1, 0, 0}).status();
  };
  EXPECT_TRUE(draw(TopOf(made, 10), made.delta, kVocabulary).ok());
  TopRow heavy = TopOf(made, 10);
  for (double& logprob : heavy.logprobs) logprob = -0.5;
  EXPECT_EQ(draw(heavy, made.delta, kVocabulary).code(), absl::StatusCode::kInternal);
  TopRow padded = TopOf(made, 10);
  EXPECT_EQ(draw(padded, made.delta, padded.ids[3]).code(), absl::StatusCode::kInternal);
  std::vector<float> broken = made.delta;
  broken[17] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(draw(TopOf(made, 10), broken, kVocabulary).code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace unlearn
