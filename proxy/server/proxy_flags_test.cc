#include "proxy/server/proxy_flags.h"

#include <cmath>

#include "absl/flags/flag.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "offset/base/settings.h"
#include "proto/unlearn/v1/config.pb.h"
#include "proxy/transport/server_flags.h"
#include "proxy/upstream/flags/upstream_flags.h"

namespace unlearn {
namespace {

TEST(ProxyFlagsTest, EveryFieldOfTheConfigurationHasAFlag) {
  const absl::Status status = CheckSettingsHaveFlags(*v1::ProxyConfig::descriptor());
  EXPECT_TRUE(status.ok()) << status;
}

TEST(ProxyFlagsTest, ErrorsNameTheFlag) {
  EXPECT_TRUE(absl::StrContains(CheckProxyFlags().message(), "--pair is required"));
  absl::SetFlag(&FLAGS_pair, "pair");
  EXPECT_TRUE(absl::StrContains(CheckProxyFlags().message(), "--store is required"));
  absl::SetFlag(&FLAGS_store, "store");
  absl::SetFlag(&FLAGS_store_key_file, "key");
  EXPECT_TRUE(CheckProxyFlags().ok());
  absl::SetFlag(&FLAGS_max_streams, 0);
  EXPECT_TRUE(absl::StrContains(CheckProxyFlags().message(), "--max_streams"));
  absl::SetFlag(&FLAGS_max_streams, 1);
  for (const double wrong : {-0.1, 1.5, std::nan("")}) {
    absl::SetFlag(&FLAGS_max_truncated_mass, wrong);
    EXPECT_TRUE(absl::StrContains(CheckProxyFlags().message(), "--max_truncated_mass")) << wrong;
  }
  absl::SetFlag(&FLAGS_max_truncated_mass, 0);
  absl::SetFlag(&FLAGS_pair_dtype, "fp8");
  EXPECT_TRUE(absl::StrContains(CheckProxyFlags().message(), "--pair_dtype fp8"));
  absl::SetFlag(&FLAGS_pair_dtype, "bf16");
  absl::SetFlag(&FLAGS_store_poll, absl::ZeroDuration());
  EXPECT_TRUE(absl::StrContains(CheckProxyFlags().message(), "--store_poll"));
}

}  // namespace
}  // namespace unlearn
