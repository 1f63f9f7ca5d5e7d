#include "trainer/evaluate/average_loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace unlearn {
namespace {

using ::testing::HasSubstr;

TEST(AverageLossTest, AcceptsLossesAndRounding) {
  EXPECT_TRUE(CheckLosses("losses", {0.0, 2.5, 800.0, -1e-6}).ok());
}

TEST(AverageLossTest, NamesWhatIsWrong) {
  const absl::Status negative = CheckLosses("answer losses", {1.0, -0.5});
  EXPECT_EQ(negative.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(negative.message()), HasSubstr("answer losses[1] is -0.5"));
  EXPECT_THAT(std::string(negative.message()), HasSubstr("log-probabilities"));
  EXPECT_FALSE(CheckLosses("losses", {}).ok());
  EXPECT_FALSE(CheckLosses("losses", {std::nan("")}).ok());
  EXPECT_FALSE(CheckLosses("losses", {std::numeric_limits<double>::infinity()}).ok());
}

}  // namespace
}  // namespace unlearn
