#include "proxy/transport/metrics_endpoint.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "offset/base/file.h"
#include "prometheus/counter.h"

namespace unlearn {
namespace {

using ::testing::HasSubstr;

// What the server answers to GET `path`, headers included.
std::string Get(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const std::string request = absl::StrCat("GET ", path, " HTTP/1.0\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(write(fd, request.data(), request.size()), request.size());
  std::string answer;
  char buffer[4096];
  for (ssize_t got; (got = read(fd, buffer, sizeof(buffer))) > 0;) answer.append(buffer, got);
  close(fd);
  return answer;
}

TEST(MetricsEndpointTest, ServesTheRegistryItWasGiven) {
  auto registry = std::make_shared<prometheus::Registry>();
  prometheus::Counter& counter = prometheus::BuildCounter()
                                     .Name("test_tokens_total")
                                     .Help("Tokens.")
                                     .Register(*registry)
                                     .Add({{"mode", "lockstep"}});
  counter.Increment(3);
  const auto endpoint = MetricsEndpoint::Start("127.0.0.1:0", "", registry);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  ASSERT_GT((*endpoint)->port(), 0);
  EXPECT_THAT(Get((*endpoint)->port(), "/metrics"),
              HasSubstr("test_tokens_total{mode=\"lockstep\"} 3"));
  counter.Increment();
  EXPECT_THAT(Get((*endpoint)->port(), "/metrics"),
              HasSubstr("test_tokens_total{mode=\"lockstep\"} 4"));
  EXPECT_THAT(Get((*endpoint)->port(), "/other"), HasSubstr("404"));
}

TEST(MetricsEndpointTest, WritesItsPortAndTakesItBack) {
  const std::string port_file = JoinPath(testing::TempDir(), "port");
  auto endpoint =
      MetricsEndpoint::Start("127.0.0.1:0", port_file, std::make_shared<prometheus::Registry>());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(ReadFile(port_file + ".metrics").value(), absl::StrCat((*endpoint)->port(), "\n"));
  endpoint->reset();
  EXPECT_FALSE(FileExists(port_file + ".metrics"));
}

TEST(MetricsEndpointTest, UsedPortsAndBadAddressesNameTheFlag) {
  auto registry = std::make_shared<prometheus::Registry>();
  const auto first = MetricsEndpoint::Start("127.0.0.1:0", "", registry);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second =
      MetricsEndpoint::Start(absl::StrCat("127.0.0.1:", (*first)->port()), "", registry);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("--metrics_listen"));
  for (const char* bad : {"", "9090", "127.0.0.1:", ":9090", "127.0.0.1:1,127.0.0.1:2"}) {
    EXPECT_EQ(MetricsEndpoint::Start(bad, "", registry).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

}  // namespace
}  // namespace unlearn
