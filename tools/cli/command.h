#ifndef TOOLS_CLI_COMMAND_H_
#define TOOLS_CLI_COMMAND_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "tools/cli/output.h"

namespace unlearn {

// What a command does once the whole command line has been read.
using Action = std::function<absl::Status(Console&)>;

// A command of the tree whose options live in `options` and whose work is `run`. The action that
// the command line named ends up in *chosen, which must outlive the parsing.
template <typename Options>
void SetAction(CLI::App* command, std::shared_ptr<Options> options, Action* chosen,
               std::function<absl::Status(const Options&, Console&)> run) {
  command->callback([options, chosen, run = std::move(run)] {
    *chosen = [options, run](Console& console) { return run(*options, console); };
  });
}

// A list of numbers: "5,6,7" or "5 6 7".
template <typename Value>
CLI::Option* AddList(CLI::App* command, const std::string& name, std::vector<Value>* values,
                     const std::string& help) {
  return command->add_option(name, *values, help)->delimiter(',');
}

// An option that may be given several times, each value taken as it stands.
inline CLI::Option* AddRepeated(CLI::App* command, const std::string& name,
                                std::vector<std::string>* values, const std::string& help) {
  return command->add_option(name, *values, help)->allow_extra_args(false);
}

// --json
inline void AddJsonFlag(CLI::App* command, bool* json) {
  command->add_flag("--json", *json, "Print JSON on stdout and nothing else");
}

}  // namespace unlearn

#endif  // TOOLS_CLI_COMMAND_H_
