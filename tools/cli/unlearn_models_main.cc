// unlearn_models: the commands of unlearn that run models, on LibTorch. Started by unlearn.
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "tools/cli/cli.h"
#include "tools/cli/logits_handler.h"
#include "tools/cli/offset_init_handler.h"
#include "tools/cli/pretrain_handler.h"
#include "tools/cli/truncate_handler.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  unlearn::Console console{std::cout, std::cerr, isatty(STDOUT_FILENO) == 1,
                           isatty(STDERR_FILENO) == 1};
  return unlearn::RunCli(
      arguments, console,
      {unlearn::RunOffsetInit, unlearn::RunLogits, unlearn::RunPretrain, unlearn::RunTruncate});
}
