#include "tools/harness/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "offset/base/file.h"

namespace unlearn {
namespace {

std::vector<char*> Argv(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  return argv;
}

int DecodeExit(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string EndOf(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return "";
  return text->size() > 2000 ? text->substr(text->size() - 2000) : *text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::vector<std::string>& arguments, const std::string& log) {
  const std::vector<char*> argv = Argv(arguments);
  int out = -1;
  if (!log.empty()) {
    out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0) {
      return absl::InternalError(absl::StrCat("cannot open ", log, ": ", strerror(errno)));
    }
  }
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (out >= 0) {
      dup2(out, 1);
      dup2(out, 2);
    }
    execv(argv[0], argv.data());
    _exit(127);
  }
  if (out >= 0) close(out);
  if (pid < 0) return absl::InternalError(absl::StrCat("cannot fork: ", strerror(errno)));
  auto process = std::unique_ptr<ChildProcess>(new ChildProcess);
  process->pid_ = pid;
  return process;
}

ChildProcess::~ChildProcess() {
  if (reaped_) return;
  kill(pid_, SIGKILL);
  Wait();
}

int ChildProcess::Wait() {
  while (!reaped_) {
    int status = 0;
    const pid_t got = waitpid(pid_, &status, 0);
    if (got < 0 && errno == EINTR) continue;
    reaped_ = true;
    exit_code_ = got < 0 ? 255 : DecodeExit(status);
  }
  return exit_code_;
}

bool ChildProcess::Running() {
  if (reaped_) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return true;
  reaped_ = true;
  exit_code_ = DecodeExit(status);
  return false;
}

void ChildProcess::Kill(int signal) {
  if (!reaped_) kill(pid_, signal);
}

int ChildProcess::Stop(absl::Duration patience) {
  Kill(SIGTERM);
  const absl::Time deadline = absl::Now() + patience;
  while (Running() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(5));
  Kill(SIGKILL);
  return Wait();
}

absl::StatusOr<std::string> WaitForPort(ChildProcess& server, const std::string& port_file,
                                        const std::string& log, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (absl::Now() < deadline) {
    const absl::StatusOr<std::string> text = ReadFile(port_file);
    if (text.ok()) {
      const std::vector<std::string> lines = absl::StrSplit(*text, '\n');
      return absl::StrCat("127.0.0.1:", lines[0]);
    }
    if (!server.Running()) {
      return absl::UnavailableError(absl::StrCat("the server ended at its start with code ",
                                                 server.Wait(), ":\n", EndOf(log)));
    }
    absl::SleepFor(absl::Milliseconds(10));
  }
  return absl::DeadlineExceededError(absl::StrCat(
      "the server did not start within ", absl::FormatDuration(timeout), ":\n", EndOf(log)));
}

absl::StatusOr<std::string> RunAndRead(const std::vector<std::string>& arguments, int* exit_code) {
  const std::vector<char*> argv = Argv(arguments);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::InternalError(absl::StrCat("cannot make a pipe: ", strerror(errno)));
  }
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(ends[1], 1);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(ends[1]);
  std::string output;
  char buffer[4096];
  ssize_t got;
  while ((got = read(ends[0], buffer, sizeof(buffer))) > 0 || (got < 0 && errno == EINTR)) {
    if (got > 0) output.append(buffer, got);
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  const int code = DecodeExit(status);
  if (exit_code != nullptr) {
    *exit_code = code;
  } else if (code != 0) {
    return absl::InternalError(
        absl::StrCat(arguments[0], " ", arguments.size() > 1 ? arguments[1] : "",
                     " failed with code ", code, "; its reason stands above"));
  }
  return output;
}

}  // namespace unlearn
