#include "proxy/model_server/model_server_flags.h"

#include <gtest/gtest.h>

#include "offset/base/settings.h"
#include "unlearn/v1/config.pb.h"

namespace unlearn {
namespace {

TEST(ModelServerFlagsTest, EveryFieldOfTheConfigurationHasAFlag) {
  const absl::Status status = CheckSettingsHaveFlags(*v1::ModelServerConfig::descriptor());
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace unlearn
