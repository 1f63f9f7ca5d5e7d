#include "offset/combine/combiner.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(CombinerTest, AddsScaledDelta) {
  const std::vector<float> model = {1, 2, -3};
  const std::vector<float> delta = {0.5f, -1, 2};
  std::vector<float> ensemble(3);
  ASSERT_TRUE(Combine(model, delta, 2.0, absl::MakeSpan(ensemble)).ok());
  EXPECT_EQ(ensemble, (std::vector<float>{2, 0, 1}));
}

TEST(CombinerTest, ZeroAlphaAndZeroDeltaGiveModelBitForBit) {
  const std::vector<float> model = {1.1f, -7.25f, 3e-30f, -kInf, 1e30f};
  std::vector<float> ensemble(model.size());
  ASSERT_TRUE(Combine(model, {3, -2, 1, 5, 8}, 0.0, absl::MakeSpan(ensemble)).ok());
  EXPECT_EQ(ensemble, model);
  ASSERT_TRUE(Combine(model, {0, 0, 0, 0, 0}, 1.7, absl::MakeSpan(ensemble)).ok());
  EXPECT_EQ(ensemble, model);
}

TEST(CombinerTest, MinusInfinityInModelStaysImpossible) {
  std::vector<float> ensemble(2);
  ASSERT_TRUE(Combine({-kInf, 0}, {100, 0}, 1.0, absl::MakeSpan(ensemble)).ok());
  EXPECT_EQ(ensemble[0], -kInf);
}

TEST(CombinerTest, RefusesWhatIsNotFinite) {
  std::vector<float> ensemble(2);
  const auto code = [&](std::vector<float> model, std::vector<float> delta, double alpha) {
    return Combine(model, delta, alpha, absl::MakeSpan(ensemble)).code();
  };
  EXPECT_EQ(code({NAN, 0}, {0, 0}, 1), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({kInf, 0}, {0, 0}, 1), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({-kInf, -kInf}, {0, 0}, 1), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({0, 0}, {NAN, 0}, 1), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({0, 0}, {0, -kInf}, 1), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({0, 0}, {NAN, 0}, 0), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({0, 0}, {1e38f, 0}, 10), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({-3e38f, 0}, {-3e38f, 0}, 1), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({0, 0}, {0, 0}, NAN), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({0, 0, 0}, {0, 0}, 1), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace unlearn
