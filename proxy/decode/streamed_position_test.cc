#include "proxy/decode/streamed_position.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "gtest/gtest.h"
#include "offset/combine/chi_square.h"
#include "offset/combine/combiner.h"

namespace unlearn {
namespace {

constexpr int kVocabulary = 60;

struct Case {
  std::vector<float> model;  // log-probs
  std::vector<float> delta;
  double alpha = 1;
};

Case MakeCase(int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Case made;
  double sum = 0;
  std::vector<double> logits(kVocabulary);
  for (double& logit : logits) sum += std::exp(logit = 2.5 * normal(random));
  for (const double logit : logits) {
    made.model.push_back(static_cast<float>(logit - std::log(sum)));
    made.delta.push_back(static_cast<float>(normal(random)));
  }
  return made;
}

SampledRow RowOf(const Case& made, int32_t id, int top) {
  std::vector<int32_t> order(kVocabulary);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return made.model[a] > made.model[b]; });
  SampledRow row;
  row.id = id;
  row.logprob = made.model[id];
  for (int i = 0; i < top; ++i) {
    row.top.ids.push_back(order[i]);
    row.top.logprobs.push_back(made.model[order[i]]);
  }
  return row;
}

UpstreamInfo Model() {
  UpstreamInfo model;
  model.vocab_size = kVocabulary;
  model.logprob_error = 2e-6;
  model.normaliser_error = 1e-4;
  return model;
}

std::vector<double> LawOf(const std::vector<float>& logits, double temperature) {
  std::vector<double> law;
  double sum = 0;
  for (const float logit : logits) sum += law.emplace_back(std::exp(logit / temperature));
  for (double& p : law) p /= sum;
  return law;
}

std::vector<float> Ensemble(const Case& made) {
  std::vector<float> ensemble(kVocabulary);
  EXPECT_TRUE(Combine(made.model, made.delta, made.alpha, absl::MakeSpan(ensemble)).ok());
  return ensemble;
}

// Over M's draws and ours, with the list made longer until each is decided: the ensemble's law.
// False-alarm rate of each comparison: 10^-6; the seeds are fixed.
TEST(StreamedPositionTest, TokensHaveTheEnsemblesLaw) {
  constexpr int kDraws = 60000;
  for (const float temperature : {0.7f, 1.0f, 1.6f}) {
    const Case made = MakeCase(3);
    std::mt19937 random(11);
    SamplingOptions sampling;
    sampling.temperature = temperature;
    const std::vector<double> model_law = LawOf(made.model, temperature);
    const std::vector<double> law = LawOf(Ensemble(made), temperature);
    std::discrete_distribution<int> model(model_law.begin(), model_law.end());
    std::vector<int> counts(kVocabulary);
    int asked_again = 0, replaced = 0;
    for (int draw = 0; draw < kDraws; ++draw) {
      StreamedPosition position({static_cast<uint64_t>(draw), 0, 9});
      const int32_t id = model(random);
      for (int top = 4;; top = std::min(kVocabulary, 3 * top), ++asked_again) {
        const auto token = position.Verify(RowOf(made, id, top), Model(), made.delta, kVocabulary,
                                           made.alpha, sampling);
        ASSERT_TRUE(token.ok()) << token.status();
        if (!token->decided) {
          ASSERT_LT(top, kVocabulary) << "the whole law must do";
          continue;
        }
        EXPECT_TRUE(!token->accepted || token->token.id == id);
        replaced += !token->accepted;
        ++counts[token->token.id];
        break;
      }
    }
    SCOPED_TRACE(temperature);
    ExpectCountsFollow(counts, law);
    EXPECT_GT(asked_again, kDraws / 50);
    EXPECT_GT(replaced, kDraws / 20);
  }
}

TEST(StreamedPositionTest, GreedilyTheMostLikelyStands) {
  for (int seed = 0; seed < 50; ++seed) {
    const Case made = MakeCase(seed);
    const std::vector<float> ensemble = Ensemble(made);
    const int32_t best =
        static_cast<int32_t>(std::max_element(ensemble.begin(), ensemble.end()) - ensemble.begin());
    const int32_t drawn = static_cast<int32_t>(
        std::max_element(made.model.begin(), made.model.end()) - made.model.begin());
    StreamedPosition position({1, 0, 1});
    for (const int top : {3, 12, kVocabulary}) {
      const auto token = position.Verify(RowOf(made, drawn, top), Model(), made.delta, kVocabulary,
                                         made.alpha, SamplingOptions());
      ASSERT_TRUE(token.ok()) << token.status();
      if (!token->decided) continue;
      EXPECT_EQ(token->token.id, best);
      EXPECT_EQ(token->accepted, best == drawn);
      EXPECT_NEAR(token->token.logprob, ensemble[best] - LogSumExp(ensemble),
                  token->logprob_error + 1e-5);
      EXPECT_TRUE(top == kVocabulary || token->truncated_mass > 0);
    }
  }
}

// A token outside the list is known by its own log-prob, even where the list comes from another
// evaluation of M that is off by a little.
TEST(StreamedPositionTest, ATokenOutsideTheList) {
  Case made = MakeCase(4);
  made.alpha = 0;
  const SampledRow list = RowOf(made, 0, 10);
  SamplingOptions sampling;
  sampling.temperature = 1;
  for (int32_t id = 0; id < kVocabulary; ++id) {
    SampledRow row = RowOf(made, id, 10);
    if (std::count(list.top.ids.begin(), list.top.ids.end(), id) == 0) {
      row.logprob = list.top.logprobs.back() + 1e-3;
    }
    StreamedPosition position({5, 0, 2});
    const auto token = position.Verify(row, Model(), made.delta, kVocabulary, made.alpha, sampling);
    ASSERT_TRUE(token.ok()) << id << ": " << token.status();
    EXPECT_TRUE(token->decided && token->accepted) << id << ": no offset, so M's token stands";
  }
}

TEST(StreamedPositionTest, WhatIsNotToldIsUndecided) {
  const Case made = MakeCase(4);
  SampledRow row = RowOf(made, 3, 10);
  row.top = TopRow();
  StreamedPosition position({5, 0, 2});
  const auto token =
      position.Verify(row, Model(), made.delta, kVocabulary, made.alpha, SamplingOptions());
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_FALSE(token->decided);
  EXPECT_TRUE(token->more_helps);
}

TEST(StreamedPositionTest, WhatNoLawHasIsRefused) {
  const Case made = MakeCase(4);
  const auto verify = [&](const SampledRow& row, const std::vector<float>& delta, int64_t tokens) {
    StreamedPosition position({5, 0, 2});
    return position.Verify(row, Model(), delta, tokens, made.alpha, SamplingOptions())
        .status()
        .code();
  };
  const SampledRow row = RowOf(made, 3, 20);
  EXPECT_EQ(verify(row, made.delta, kVocabulary), absl::StatusCode::kOk);
  EXPECT_EQ(verify(row, made.delta, 10), absl::StatusCode::kInternal) << "ids beyond the tokens";
  SampledRow wrong = row;
  wrong.id = -1;
  EXPECT_EQ(verify(wrong, made.delta, kVocabulary), absl::StatusCode::kInternal);
  wrong = row;
  wrong.top.logprobs[2] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(verify(wrong, made.delta, kVocabulary), absl::StatusCode::kInternal);
  std::vector<float> delta = made.delta;
  delta[7] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(verify(row, delta, kVocabulary), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace unlearn
