#ifndef TOOLS_HARNESS_CHILD_PROCESS_H_
#define TOOLS_HARNESS_CHILD_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace unlearn {

// A program started from here. Killed when the object dies, and when this process does.
class ChildProcess {
 public:
  // arguments[0] is the program's path. stdout and stderr go to `log` (empty: stay as they are).
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const std::vector<std::string>& arguments, const std::string& log);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // The exit code, or 128 + signal.
  int Wait();
  // SIGTERM, then SIGKILL when it has not ended by then.
  int Stop(absl::Duration patience = absl::Seconds(20));
  void Kill(int signal);
  bool Running();
  pid_t pid() const { return pid_; }

 private:
  ChildProcess() = default;
  pid_t pid_ = -1;
  bool reaped_ = false;
  int exit_code_ = 0;
};

// Starts a server and waits until it has written its --port_file; returns "127.0.0.1:PORT".
// UNAVAILABLE with the end of the log when it ends instead.
absl::StatusOr<std::string> WaitForPort(ChildProcess& server, const std::string& port_file,
                                        const std::string& log, absl::Duration timeout);

// Runs to its end and gives what it wrote to stdout; stderr stays as it is. The exit code is put
// into `exit_code` where given; without it any but 0 is INTERNAL.
absl::StatusOr<std::string> RunAndRead(const std::vector<std::string>& arguments,
                                       int* exit_code = nullptr);

}  // namespace unlearn

#endif  // TOOLS_HARNESS_CHILD_PROCESS_H_
