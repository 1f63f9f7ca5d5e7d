#include "trainer/evaluate/truth_ratio.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "trainer/evaluate/tofu_golden_logs.h"

namespace unlearn {
namespace {

TEST(TruthRatioTest, IsAGeometricMean) {
  // Perturbed 0.1 and 0.4: geometric mean 0.2 (arithmetic 0.25), over 0.5.
  const std::vector<double> perturbed = {-std::log(0.1), -std::log(0.4)};
  EXPECT_NEAR(*TruthRatio(-std::log(0.5), perturbed), 0.4, 1e-15);
}

TEST(TruthRatioTest, StaysFiniteAndPositive) {
  EXPECT_TRUE(std::isfinite(*TruthRatio(5000, {0.0})));
  EXPECT_GT(*TruthRatio(0, {5000.0}), 0);
}

TEST(TruthRatioTest, Aggregates) {
  const std::vector<double> ratios = {0.5, 1, 4};
  EXPECT_NEAR(*ForgetTruthRatio(ratios), (0.5 + 1 + 0.25) / 3, 1e-15);
  EXPECT_NEAR(*RetainTruthRatio(ratios), 0.5 / 3, 1e-15);
  EXPECT_EQ(*ForgetTruthRatio({0.0}), 0);
}

TEST(TruthRatioTest, BadInput) {
  EXPECT_TRUE(absl::IsInvalidArgument(TruthRatio(1, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(TruthRatio(std::nan(""), {1.0}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(TruthRatio(1, {-1.0}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ForgetTruthRatio({}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(RetainTruthRatio({1.0, std::nan("")}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ForgetTruthRatio({-0.1}).status()));
}

std::vector<double> Ratios(const std::vector<TofuLogItem>& items, const char* set) {
  std::vector<double> ratios;
  for (size_t i = 0; i < items.size(); ++i) {
    ratios.push_back(
        TruthRatio(items[i].paraphrased_average_loss, items[i].perturbed_average_losses).value());
    // The log was computed in fp32.
    EXPECT_NEAR(ratios.back() / items[i].truth_ratio, 1, 2e-6) << set << " item " << i;
  }
  return ratios;
}

TEST(TruthRatioTest, ReproducesEveryItemOfTofusLogs) {
  READ_GOLDEN_LOG_OR_SKIP(full, "llama2-7b_full");
  EXPECT_NEAR(*RetainTruthRatio(Ratios(full.retain, "retain")), 0.474699, 1e-6);
  EXPECT_NEAR(*RetainTruthRatio(Ratios(full.real_authors, "real authors")), 0.596229, 1e-6);
  EXPECT_NEAR(*RetainTruthRatio(Ratios(full.world_facts, "world facts")), 0.539033, 1e-6);
  EXPECT_NEAR(*ForgetTruthRatio(Ratios(full.forget, "forget")), 0.515985, 1e-6);
  READ_GOLDEN_LOG_OR_SKIP(retain90, "llama2-7b_retain90");
  Ratios(retain90.retain, "retain");
  Ratios(retain90.real_authors, "real authors");
  Ratios(retain90.world_facts, "world facts");
  Ratios(retain90.forget, "forget");
}

}  // namespace
}  // namespace unlearn
