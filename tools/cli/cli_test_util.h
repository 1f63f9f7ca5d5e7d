#ifndef TOOLS_CLI_CLI_TEST_UTIL_H_
#define TOOLS_CLI_CLI_TEST_UTIL_H_

#include <algorithm>
#include <chrono>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tools/cli/cli.h"

namespace unlearn {

struct CliResult {
  int exit_code = 0;
  std::string out;
  std::string err;

  // The one JSON object that --json promises.
  Json json() const {
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1) << out;
    Json parsed = Json::parse(out, nullptr, false);
    EXPECT_TRUE(parsed.is_object()) << out;
    return parsed;
  }
};

inline CliResult RunInProcess(const std::vector<std::string>& arguments,
                              const ModelHandlers& handlers = {}, bool terminal = false) {
  std::ostringstream out, err;
  Console console{out, err, terminal, terminal};
  CliResult result;
  result.exit_code = RunCli(arguments, console, handlers);
  result.out = out.str();
  result.err = err.str();
  return result;
}

inline std::vector<std::string> Keys(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

// A service on port 0 of the loopback interface.
class FakeServer {
 public:
  explicit FakeServer(grpc::Service* service) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }
  ~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }
  const std::string& address() const { return address_; }

 private:
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace unlearn

#endif  // TOOLS_CLI_CLI_TEST_UTIL_H_
