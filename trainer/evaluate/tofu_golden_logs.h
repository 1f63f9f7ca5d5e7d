#ifndef TRAINER_EVALUATE_TOFU_GOLDEN_LOGS_H_
#define TRAINER_EVALUATE_TOFU_GOLDEN_LOGS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace unlearn {

// One item of a log that was published with TOFU. Tests only.
struct TofuLogItem {
  std::string generated;
  std::string expected;
  double rouge1_recall = 0;
  double rouge_l_recall = 0;
  double average_loss = 0;  // of the true answer; so are sum_loss and tokens
  double sum_loss = 0;
  int tokens = 0;
  double paraphrased_average_loss = 0;
  std::vector<double> perturbed_average_losses;
  double truth_ratio = 0;
};

struct TofuLog {
  std::vector<TofuLogItem> retain;
  std::vector<TofuLogItem> real_authors;
  std::vector<TofuLogItem> world_facts;
  std::vector<TofuLogItem> forget;
};

// $UNLEARN_TEST_DATA/data/tofu_golden/<name>.json. NOT_FOUND when the variable or the file is
// missing, INVALID_ARGUMENT when the file is not such a log.
absl::StatusOr<TofuLog> ReadTofuGoldenLog(const std::string& name);

// Whether tests must not skip for want of data (CI=true).
bool GoldenLogsAreRequired();

}  // namespace unlearn

// In a test body: `log` is the log `name`. Without the data the test is skipped, on CI it fails.
#define READ_GOLDEN_LOG_OR_SKIP(log, name)                                          \
  absl::StatusOr<::unlearn::TofuLog> log##_or = ::unlearn::ReadTofuGoldenLog(name); \
  if (absl::IsNotFound(log##_or.status()) && !::unlearn::GoldenLogsAreRequired()) { \
    GTEST_SKIP() << log##_or.status().message();                                    \
  }                                                                                 \
  ASSERT_TRUE(log##_or.ok()) << log##_or.status();                                  \
  const ::unlearn::TofuLog& log = *log##_or

#endif  // TRAINER_EVALUATE_TOFU_GOLDEN_LOGS_H_
