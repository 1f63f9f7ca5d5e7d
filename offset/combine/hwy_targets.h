#ifndef OFFSET_COMBINE_HWY_TARGETS_H_
#define OFFSET_COMBINE_HWY_TARGETS_H_

// For tests that run once for each instruction set that this machine has.

#include <string>

#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "hwy/targets.h"

namespace unlearn {

class EveryTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { Use(GetParam()); }
  void TearDown() override { Use(0); }

 private:
  // 0: what the machine has, again.
  static void Use(int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

inline std::string TargetOf(const testing::TestParamInfo<int64_t>& info) {
  return hwy::TargetName(info.param);
}

}  // namespace unlearn

#define INSTANTIATE_EVERY_TARGET(suite)                                                     \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), \
                           unlearn::TargetOf)

#endif  // OFFSET_COMBINE_HWY_TARGETS_H_
