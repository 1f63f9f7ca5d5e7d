#ifndef TOOLS_HARNESS_SERVER_TRIO_H_
#define TOOLS_HARNESS_SERVER_TRIO_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/harness/child_process.h"

namespace unlearn {

// The programs of this project, wherever they were built.
struct Programs {
  std::string unlearn;
  std::string model_server;
  std::string proxy;
  std::string trainer;
};

struct TrioOptions {
  std::string work;   // port files, logs, store, key and state go below it
  std::string model;  // HF folder of M
  std::string pair;   // HF folder of the pair's base
  double alpha = 1.0;
  std::vector<std::string> model_server_flags;
  std::vector<std::string> proxy_flags;
  std::vector<std::string> trainer_flags;
};

// The three servers as processes on free ports of 127.0.0.1, with version 0 in a fresh store: what
// an operator would start by hand.
class ServerTrio {
 public:
  static absl::StatusOr<std::unique_ptr<ServerTrio>> Start(const Programs& programs,
                                                           const TrioOptions& options);
  ~ServerTrio() { Stop(); }

  const std::string& proxy_address() const { return proxy_address_; }
  const std::string& trainer_address() const { return trainer_address_; }
  const std::string& model_address() const { return model_address_; }
  ChildProcess& model_server() { return *model_server_; }
  ChildProcess& proxy() { return *proxy_; }
  ChildProcess& trainer() { return *trainer_; }
  std::string store() const;
  std::string store_key_file() const;
  std::string state() const;

  // After a kill: the trainer again, on the same state.
  absl::Status RestartTrainer();
  void Stop();

 private:
  ServerTrio(Programs programs, TrioOptions options)
      : programs_(std::move(programs)), options_(std::move(options)) {}
  absl::StatusOr<std::unique_ptr<ChildProcess>> StartServer(const std::string& name,
                                                            std::vector<std::string> arguments,
                                                            std::string* address);

  const Programs programs_;
  const TrioOptions options_;
  std::unique_ptr<ChildProcess> model_server_, proxy_, trainer_;
  std::string model_address_, proxy_address_, trainer_address_;
};

}  // namespace unlearn

#endif  // TOOLS_HARNESS_SERVER_TRIO_H_
