#include "trainer/train/model_rows.h"

#include <ATen/ATen.h>

#include <cmath>
#include <functional>

#include "gtest/gtest.h"
#include "trainer/objective/losses.h"
#include "trainer/objective/objective.h"
#include "trainer/train/top_upstream.h"

namespace unlearn {
namespace {

constexpr int64_t kRows = 6;
constexpr int64_t kTokens = 30;
constexpr Vocabulary kVocabulary = {kTokens + 2, kTokens};

UpstreamInfo Model() {
  UpstreamInfo model;
  model.vocab_size = kTokens;
  model.logprob_error = 1e-9;
  return model;
}

class ModelRowsTest : public testing::Test {
 protected:
  ModelRowsTest() {
    at::manual_seed(5);
    logits_ = at::randn({kRows, kTokens}) * 2;
  }

  // M tells the k most likely of each row, or one more of every second.
  ModelRows Tops(int k) const {
    std::vector<TopLaw> laws;
    for (int64_t row = 0; row < kRows; ++row) {
      const absl::Span<const float> all(logits_.const_data_ptr<float>() + row * kTokens, kTokens);
      laws.push_back(
          TopLaw::Create(TopUpstream::TopOf(all, k + row % 2), Model(), kTokens).value());
    }
    return ModelRows::FromTops(laws, kVocabulary);
  }

  // Rows of a step in which the offset does something; `delta` of the tokens alone.
  static ObjectiveRows Step(const at::Tensor& model, const at::Tensor& delta) {
    ObjectiveRows rows;
    rows.model = model;
    rows.ensemble = model + 1.3 * delta;
    rows.labels = at::tensor({3, 0, 17, 4, 29, 8}, at::kLong);
    rows.sequence = at::tensor({0, 0, 0, 1, 1, 1}, at::kLong);
    rows.sequences = 2;
    return rows;
  }

  at::Tensor logits_;  // [kRows, kTokens]
};

std::string FileOf(const ModelRows& rows) {
  std::map<std::string, TensorView> tensors;
  rows.AddTo("0", tensors);
  return SerializeSafetensors(tensors, {});
}

TEST_F(ModelRowsTest, EveryTokenToldGivesEveryObjectiveTheSameLosses) {
  const at::Tensor whole = logits_ - logits_.amax(1, true);
  const at::Tensor told = Tops(kTokens).Expand();
  ASSERT_EQ(told.sizes(), (at::IntArrayRef{kRows, kTokens + 2}));
  const at::Tensor delta = at::randn({kRows, kTokens + 2});
  const at::Tensor none = at::full({kRows, 2}, -INFINITY);
  for (const char* name : {"mixed", "refusal", "relabel", "npo", "max_entropy", "ce_u"}) {
    const auto objective = MakeObjective(name).value();
    const ObjectiveRows of_told = Step(told, delta);
    const ObjectiveRows of_whole = Step(at::cat({whole, none}, 1), delta);
    EXPECT_NEAR(objective->ForgetLoss(of_told).item<double>(),
                objective->ForgetLoss(of_whole).item<double>(), 1e-6)
        << name;
    EXPECT_NEAR(objective->KeepLoss(of_told).item<double>(),
                objective->KeepLoss(of_whole).item<double>(), 1e-6)
        << name;
  }
}

// Central differences against backward, by delta of told tokens and of others alike.
TEST_F(ModelRowsTest, GradientsGoThroughTheTail) {
  const at::Tensor model = Tops(4).Expand().to(at::kDouble);
  const at::Tensor at_point = at::randn({kRows, kTokens + 2}, at::kDouble);
  for (const char* name : {"mixed", "npo", "max_entropy", "ce_u"}) {
    const auto objective = MakeObjective(name).value();
    const auto loss = [&](const at::Tensor& delta) {
      const ObjectiveRows rows = Step(model, delta);
      return objective->ForgetLoss(rows) + objective->KeepLoss(rows);
    };
    const at::Tensor leaf = at_point.clone().set_requires_grad(true);
    loss(leaf).backward();
    EXPECT_GT(leaf.grad().abs().max().item<double>(), 1e-3) << name;
    ASSERT_TRUE(at::isfinite(leaf.grad()).all().item<bool>()) << name;
    const double step = 1e-6;
    for (int64_t i = 0; i < at_point.numel(); ++i) {
      at::Tensor up = at_point.clone();
      at::Tensor down = at_point.clone();
      up.view(-1)[i] += step;
      down.view(-1)[i] -= step;
      EXPECT_NEAR(leaf.grad().view(-1)[i].item<double>(),
                  (loss(up) - loss(down)).item<double>() / (2 * step), 1e-6)
          << name << " entry " << i;
    }
  }
}

// The tail as one bucket of the tokens' common weight: log-probs of told tokens are what a softmax
// over told tokens and log (m / n) + logsumexp (alpha delta) gives.
TEST_F(ModelRowsTest, TheTailIsOneBucketOfMeanWeight) {
  const ModelRows rows = Tops(4);
  const at::Tensor model = rows.Expand().narrow(1, 0, kTokens).to(at::kDouble);
  const at::Tensor delta = at::randn({kRows, kTokens}, at::kDouble);
  const at::Tensor logprobs = at::log_softmax(model + 1.3 * delta, 1);
  for (int64_t row = 0; row < kRows; ++row) {
    const int64_t k = 4 + row % 2;
    const at::Tensor order = logits_[row].argsort(0, /*descending=*/true);
    const at::Tensor told = order.narrow(0, 0, k);
    const at::Tensor others = order.narrow(0, k, kTokens - k);
    const at::Tensor of_m = at::log_softmax(logits_[row].to(at::kDouble), 0);
    const at::Tensor mass = 1 - of_m.index_select(0, told).exp().sum();
    const at::Tensor bucket =
        at::log(mass / (kTokens - k)) + at::logsumexp(1.3 * delta[row].index_select(0, others), 0);
    const at::Tensor known = of_m.index_select(0, told) + 1.3 * delta[row].index_select(0, told);
    const at::Tensor expected =
        at::log_softmax(at::cat({known, bucket.reshape({1})}, 0), 0).narrow(0, 0, k);
    EXPECT_LT((logprobs[row].index_select(0, told) - expected).abs().max().item<double>(), 1e-5);
  }
}

TEST_F(ModelRowsTest, WholeRowsAreLessTheirMaximum) {
  const ModelRows rows = ModelRows::FromLogits(logits_);
  EXPECT_EQ(rows.size(), kRows);
  EXPECT_TRUE(
      at::equal(rows.Expand(), (logits_ - logits_.amax(1, true)).to(at::kHalf).to(at::kFloat)));
  TopFigures figures;
  rows.Count(std::vector<int32_t>(kRows, 0), figures);
  EXPECT_EQ(figures.positions, 0);
}

TEST_F(ModelRowsTest, ASequenceFollowsAnother) {
  const ModelRows a = Tops(4), b = Tops(7);
  EXPECT_TRUE(at::equal(ExpandRows({&a, &b}), at::cat({a.Expand(), b.Expand()}, 0)));
}

TEST_F(ModelRowsTest, CountsWhatWasNotTold) {
  const ModelRows rows = Tops(4);
  std::vector<int32_t> answer;
  for (int64_t row = 0; row < kRows; ++row) {
    // In every third row what M thinks least likely.
    answer.push_back(static_cast<int32_t>(
        (row % 3 == 0 ? logits_[row].argmin() : logits_[row].argmax()).item<int64_t>()));
  }
  TopFigures figures;
  rows.Count(answer, figures);
  EXPECT_EQ(figures.positions, kRows);
  EXPECT_EQ(figures.untold, 2);
  double most = 0, sum = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    const at::Tensor law = std::get<0>(at::softmax(logits_[row], 0).sort(0, /*descending=*/true));
    const double mass = 1 - law.narrow(0, 0, 4 + row % 2).sum().item<double>();
    most = std::max(most, mass);
    sum += mass;
  }
  EXPECT_NEAR(figures.most_mass, most, 1e-5);
  EXPECT_NEAR(figures.mean_mass(), sum / kRows, 1e-5);
}

TEST_F(ModelRowsTest, AFileKeepsThemAsTheyAre) {
  for (const ModelRows& rows : {Tops(4), ModelRows::FromLogits(logits_)}) {
    const Vocabulary vocabulary = {rows.columns(), kTokens};
    const auto file = SafetensorsFile::FromBytes(FileOf(rows), "f").value();
    const auto read = ModelRows::From(*file, "0", kRows, vocabulary);
    ASSERT_TRUE(read.has_value());
    EXPECT_TRUE(at::equal(read->Expand(), rows.Expand()));
    TopFigures before, after;
    rows.Count(std::vector<int32_t>(kRows, 1), before);
    read->Count(std::vector<int32_t>(kRows, 1), after);
    EXPECT_EQ(before.mass, after.mass);
    EXPECT_FALSE(ModelRows::From(*file, "1", kRows, vocabulary).has_value());
    EXPECT_FALSE(ModelRows::From(*file, "0", kRows + 1, vocabulary).has_value());
  }
  // Of another vocabulary: ids would fall outside it.
  const auto file = SafetensorsFile::FromBytes(FileOf(Tops(kTokens)), "f").value();
  EXPECT_FALSE(ModelRows::From(*file, "0", kRows, {10, 10}).has_value());
}

}  // namespace
}  // namespace unlearn
