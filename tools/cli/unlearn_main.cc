// unlearn: the command line tool. Commands that run models are done by unlearn_models beside it,
// so that all others start without LibTorch.
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "tools/cli/cli.h"
#include "tools/cli/exec_models.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  unlearn::Console console{std::cout, std::cerr, isatty(STDOUT_FILENO) == 1,
                           isatty(STDERR_FILENO) == 1};
  const auto hand_over = [&arguments](const auto&, unlearn::Console&) {
    return unlearn::ExecModels(arguments);
  };
  return unlearn::RunCli(arguments, console, {hand_over, hand_over, hand_over, hand_over});
}
