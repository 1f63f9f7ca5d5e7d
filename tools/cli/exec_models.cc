#include "tools/cli/exec_models.h"

#include <limits.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace unlearn {

absl::Status ExecModels(const std::vector<std::string>& arguments) {
  char self[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof(self));
  if (length <= 0 || length == sizeof(self)) {
    return absl::InternalError("/proc/self/exe does not tell where this program lies");
  }
  const std::string path(self, length);
  const std::string program = absl::StrCat(path.substr(0, path.rfind('/')), "/unlearn_models");
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  return absl::FailedPreconditionError(
      absl::StrCat(program, " could not be started (", std::strerror(errno),
                   "); it does the commands that run models and belongs beside unlearn"));
}

}  // namespace unlearn
