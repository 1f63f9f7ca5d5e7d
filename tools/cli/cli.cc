#include "tools/cli/cli.h"

#include <memory>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/cli/command.h"
#include "tools/cli/delete_command.h"
#include "tools/cli/exit_status.h"
#include "tools/cli/generate_command.h"
#include "tools/cli/model_command.h"
#include "tools/cli/offset_command.h"
#include "tools/cli/people_command.h"
#include "tools/cli/pretrain_command.h"
#include "tools/cli/score_command.h"
#include "tools/cli/tokenizer_command.h"

namespace unlearn {
namespace {

constexpr char kFooter[] =
    "Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong usage, 3 the quality gate did "
    "not accept the request.\n"
    "A flag wins over the environment: UNLEARN_SERVER, UNLEARN_TRAINER, UNLEARN_TLS_CA, "
    "UNLEARN_TLS_CERT, UNLEARN_TLS_KEY, UNLEARN_TOKEN_FILE, UNLEARN_TIMEOUT.";

// Which help fits: "unlearn delete", say.
std::string CommandPath(const CLI::App& app) {
  std::string path = app.get_name();
  for (const CLI::App* sub : app.get_subcommands()) {
    if (!sub->get_name().empty()) return absl::StrCat(path, " ", CommandPath(*sub));
  }
  return path;
}

// The innermost command that the command line named.
const CLI::App& Innermost(const CLI::App& app) {
  for (const CLI::App* sub : app.get_subcommands()) {
    if (!sub->get_name().empty()) return Innermost(*sub);
  }
  return app;
}

int WrongUsage(const CLI::App& app, absl::string_view message, Console& console) {
  const std::string path = CommandPath(app);
  console.err << path << ": " << message << "\nSee " << path << " --help\n" << std::flush;
  return kExitWrongUsage;
}

std::string MissingCommand(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : Innermost(app).get_subcommands(
           [](const CLI::App* candidate) { return !candidate->get_name().empty(); })) {
    names.push_back(sub->get_name());
  }
  return absl::StrCat("name a command: ", absl::StrJoin(names, ", "));
}

}  // namespace

int RunCli(const std::vector<std::string>& arguments, Console& console,
           const ModelHandlers& handlers) {
  CLI::App app(
      "Forgetting for a large model behind an API: asks the proxy, hands deletion requests "
      "to the trainer, looks after offset versions, and makes small models.",
      "unlearn");
  app.footer(kFooter);
  Action chosen;
  AddGenerateCommand(&app, &chosen);
  AddScoreCommand(&app, &chosen);
  AddDeleteCommands(&app, &chosen);
  AddOffsetCommands(&app, &chosen, handlers);
  AddModelCommands(&app, &chosen, handlers);
  AddTokenizerCommands(&app, &chosen);
  AddPeopleCommand(&app, &chosen);
  AddPretrainCommand(&app, &chosen, handlers);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp& help) {
    app.exit(help, console.out, console.err);
    console.out << std::flush;
    return kExitDone;
  } catch (const CLI::ParseError& error) {
    return WrongUsage(app, error.what(), console);
  }
  if (!chosen) return WrongUsage(app, MissingCommand(app), console);

  absl::Status status = chosen(console);
  console.out << std::flush;
  if (status.ok() && !console.out) {
    status = absl::DataLossError("stdout could not be written; is the disk full?");
  }
  const int code = ExitCode(status);
  if (code == kExitWrongUsage) return WrongUsage(app, status.message(), console);
  if (code != kExitDone) {
    console.err << "unlearn: " << absl::StatusCodeToString(status.code()) << ": "
                << ForTerminal(status.message()) << '\n'
                << std::flush;
  }
  return code;
}

}  // namespace unlearn
