#include "trainer/objective/losses.h"

#include <ATen/ATen.h>

#include <cmath>
#include <functional>

#include "gtest/gtest.h"
#include "trainer/objective/objective.h"

namespace unlearn {
namespace {

constexpr int64_t kTokens = 5;
constexpr int64_t kVocab = 7;

struct Case {
  at::Tensor ensemble = at::randn({kTokens, kVocab}, at::kDouble);
  at::Tensor model = at::randn({kTokens, kVocab}, at::kDouble);
  at::Tensor labels = at::tensor({0, 3, 6, 2, 2}, at::kLong);
  at::Tensor sequence = at::tensor({0, 0, 1, 1, 1}, at::kLong);
  Case() { at::manual_seed(3); }
};

// Central differences of every entry against backward, in double.
void ExpectGradient(const Case& c, const std::function<at::Tensor(const at::Tensor&)>& loss) {
  const at::Tensor leaf = c.ensemble.clone().set_requires_grad(true);
  loss(leaf).backward();
  const double step = 1e-6;
  for (int64_t i = 0; i < kTokens * kVocab; ++i) {
    at::Tensor up = c.ensemble.clone();
    at::Tensor down = c.ensemble.clone();
    up.view(-1)[i] += step;
    down.view(-1)[i] -= step;
    const double expected = (loss(up) - loss(down)).item<double>() / (2 * step);
    EXPECT_NEAR(leaf.grad().view(-1)[i].item<double>(), expected, 1e-6) << "entry " << i;
  }
}

TEST(LossesTest, GradientsMatchFiniteDifferences) {
  const Case c;
  ExpectGradient(c, [&](const at::Tensor& z) { return CrossEntropy(z, c.labels); });
  ExpectGradient(c, [&](const at::Tensor& z) { return KlFromModel(z, c.model); });
  ExpectGradient(c, [&](const at::Tensor& z) { return ShiftVariance(z, c.model); });
  ExpectGradient(c, [&](const at::Tensor& z) {
    return NegativePreference(z, c.model, c.labels, c.sequence, 2, 0.1);
  });
  ExpectGradient(c, [&](const at::Tensor& z) { return TowardsUniform(z, c.model); });
  ExpectGradient(
      c, [&](const at::Tensor& z) { return TowardsModelWithoutLabel(z, c.model, c.labels); });
}

TEST(LossesTest, CrossEntropyGradientOfTheOffsetIsAlphaTimesSoftmaxMinusOneHot) {
  // z = z_M + alpha · delta: the identity of the design, section 1.
  const Case c;
  const double alpha = 1.7;
  const at::Tensor delta = at::randn({kTokens, kVocab}, at::kDouble).set_requires_grad(true);
  const at::Tensor z = c.model + alpha * delta;
  (CrossEntropy(z, c.labels) * kTokens).backward();
  const at::Tensor expected = alpha * (at::softmax(z.detach(), 1) - at::one_hot(c.labels, kVocab));
  EXPECT_LT((delta.grad() - expected).abs().max().item<double>(), 1e-12);
}

TEST(LossesTest, KlIsZeroAtTheModelAndShiftInvariant) {
  const Case c;
  EXPECT_NEAR(KlFromModel(c.model, c.model).item<double>(), 0, 1e-12);
  EXPECT_NEAR(KlFromModel(c.ensemble, c.model).item<double>(),
              KlFromModel(c.ensemble + 3, c.model - 5).item<double>(), 1e-12);
  EXPECT_GT(KlFromModel(c.ensemble, c.model).item<double>(), 0);
}

TEST(LossesTest, KlSurvivesImpossibleTokens) {
  Case c;
  c.model.select(1, 4).fill_(-INFINITY);
  at::Tensor ensemble = c.ensemble.clone();
  ensemble.select(1, 4).fill_(-INFINITY);
  const at::Tensor leaf = ensemble.set_requires_grad(true);
  const at::Tensor loss = KlFromModel(leaf, c.model);
  EXPECT_TRUE(std::isfinite(loss.item<double>()));
  loss.backward();
  EXPECT_TRUE(at::isfinite(leaf.grad()).all().item<bool>());
}

TEST(LossesTest, ShiftVarianceIsOfTheDifferenceAndLeavesOutImpossibleIds) {
  Case c;
  EXPECT_NEAR(ShiftVariance(c.model + 3, c.model).item<double>(), 0, 1e-12);
  const at::Tensor shift = at::zeros({kTokens, kVocab}, at::kDouble);
  shift.select(1, 0).fill_(7.0);  // variance over 7 ids: 49/7 - 1
  EXPECT_NEAR(ShiftVariance(c.model + shift, c.model).item<double>(), 6, 1e-9);
  at::Tensor model = c.model.clone();
  model.select(1, 4).fill_(-INFINITY);
  EXPECT_NEAR(ShiftVariance(model + shift, model).item<double>(), 49.0 / 6 - 49.0 / 36, 1e-9);
}

TEST(LossesTest, ShiftVarianceOfHiddenIsThatOfTheLogits) {
  const Case c;
  const at::Tensor head = at::randn({kVocab, 4}, at::kDouble);
  const at::Tensor hidden = at::randn({kTokens, 4}, at::kDouble);
  EXPECT_NEAR(ShiftVarianceOfHidden(hidden, HeadCovariance(head)).item<double>(),
              ShiftVariance(c.model + at::matmul(hidden, head.t()), c.model).item<double>(), 1e-9);
}

TEST(LossesTest, NpoAtTheModelIsTwoLogTwoOverBeta) {
  const Case c;
  EXPECT_NEAR(NegativePreference(c.model, c.model, c.labels, c.sequence, 2, 0.1).item<double>(),
              2 / 0.1 * std::log(2.0), 1e-9);
}

TEST(LossesTest, NpoFallsWithTheSequencesProbability) {
  const Case c;
  const at::Tensor less = c.model - 2 * at::one_hot(c.labels, kVocab);
  EXPECT_LT(NegativePreference(less, c.model, c.labels, c.sequence, 2, 0.1).item<double>(),
            NegativePreference(c.model, c.model, c.labels, c.sequence, 2, 0.1).item<double>());
}

TEST(LossesTest, UniformIsTheMinimumOfTowardsUniform) {
  const Case c;
  const double flat = TowardsUniform(at::zeros_like(c.model), c.model).item<double>();
  EXPECT_NEAR(flat, std::log(double(kVocab)), 1e-12);
  EXPECT_GT(TowardsUniform(c.ensemble, c.model).item<double>(), flat);
}

TEST(LossesTest, UniformTargetLeavesOutImpossibleIds) {
  Case c;
  c.model.select(1, 4).fill_(-INFINITY);
  at::Tensor flat = at::zeros_like(c.model);
  flat.select(1, 4).fill_(-INFINITY);
  EXPECT_NEAR(TowardsUniform(flat, c.model).item<double>(), std::log(kVocab - 1.0), 1e-6);
}

TEST(LossesTest, CeUIsLeastAtTheModelWithoutTheLabel) {
  const Case c;
  const at::Tensor without =
      c.model.scatter(1, c.labels.unsqueeze(1), -30.0);  // as good as impossible
  const double least = TowardsModelWithoutLabel(without, c.model, c.labels).item<double>();
  EXPECT_LT(least, TowardsModelWithoutLabel(c.model, c.model, c.labels).item<double>());
  EXPECT_LT(least, TowardsModelWithoutLabel(c.ensemble, c.model, c.labels).item<double>());
}

TEST(ObjectiveTest, KnowsItsNamesAndRefusesOthers) {
  for (const char* name : {"mixed", "refusal", "relabel", "npo", "max_entropy", "ce_u"}) {
    const auto objective = MakeObjective(name);
    ASSERT_TRUE(objective.ok()) << name;
    EXPECT_EQ((*objective)->name(), name);
    EXPECT_FALSE((*objective)->forget_sequences().empty());
  }
  EXPECT_EQ((*MakeObjective(""))->name(), kDefaultObjective);
  EXPECT_EQ(MakeObjective("gradient").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace unlearn
