#include "trainer/server/trainer_flags.h"

#include "absl/flags/flag.h"
#include "gtest/gtest.h"
#include "offset/base/settings.h"
#include "proto/unlearn/v1/config.pb.h"
#include "trainer/data/item_check.h"

namespace unlearn {
namespace {

TEST(TrainerFlagsTest, EveryFieldOfTheConfigurationHasAFlag) {
  const absl::Status status = CheckSettingsHaveFlags(*v1::TrainerConfig::descriptor());
  EXPECT_TRUE(status.ok()) << status;
}

TEST(TrainerFlagsTest, TheDefaultsPassTheChecksOfARequest) {
  v1::TrainingSettings settings;
  settings.set_objective(absl::GetFlag(FLAGS_objective));
  settings.set_steps(absl::GetFlag(FLAGS_steps));
  settings.set_learning_rate(absl::GetFlag(FLAGS_learning_rate));
  EXPECT_TRUE(CheckTrainingSettings(settings).ok());
}

}  // namespace
}  // namespace unlearn
