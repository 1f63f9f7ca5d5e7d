#include "proxy/transport/server_flags.h"

#include <string>
#include <vector>

#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "offset/base/settings.h"
#include "unlearn/v1/config.pb.h"

namespace unlearn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ServerFlagsTest, FillTheOptions) {
  absl::FlagSaver saver;
  std::vector<std::string> words = {"server",          "--listen=unix:/tmp/a,127.0.0.1:0",
                                    "--port_file=p",   "--metrics_listen=127.0.0.1:1",
                                    "--tls_cert=c",    "--tls_key=k",
                                    "--tls_ca=a",      "--token_file=t",
                                    "--drain_timeout", "1m5s"};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  absl::ParseCommandLine(argv.size(), argv.data());
  const ServerOptions options = ServerOptionsFromFlags();
  EXPECT_THAT(options.listen, ElementsAre("unix:/tmp/a", "127.0.0.1:0"));
  EXPECT_EQ(options.port_file, "p");
  EXPECT_EQ(options.metrics_listen, "127.0.0.1:1");
  EXPECT_EQ(options.tls_cert, "c");
  EXPECT_EQ(options.tls_key, "k");
  EXPECT_EQ(options.tls_ca, "a");
  EXPECT_EQ(options.token_file, "t");
  EXPECT_EQ(options.drain_timeout, absl::Seconds(65));
}

TEST(ServerFlagsTest, DefaultsServeOnThisMachineOnly) {
  const ServerOptions options = ServerOptionsFromFlags();
  EXPECT_THAT(options.listen, ElementsAre("127.0.0.1:0"));
  EXPECT_EQ(options.drain_timeout, absl::Seconds(30));
  EXPECT_TRUE(options.handle_signals);
}

// The part that all three configurations share has its flags here.
TEST(ServerFlagsTest, ConfigurationsHaveTheseFlags) {
  for (const auto* config : {v1::ProxyConfig::descriptor(), v1::TrainerConfig::descriptor(),
                             v1::ModelServerConfig::descriptor()}) {
    const std::string missing(CheckSettingsHaveFlags(*config).message());
    for (const char* name : {"listen", "port_file", "metrics_listen", " tls_cert", " tls_key",
                             " tls_ca", " token_file", "drain_timeout"}) {
      EXPECT_THAT(missing, Not(HasSubstr(name)));
      const std::string field = name[0] == ' ' ? name + 1 : name;
      EXPECT_NE(config->FindFieldByName(field), nullptr) << field;
    }
  }
}

}  // namespace
}  // namespace unlearn
