#include "tools/cli/people_command.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "offset/base/file.h"
#include "offset/base/status_macros.h"
#include "tools/people/people_files.h"

namespace unlearn {
namespace {

struct PeopleFlags {
  PeopleOptions people;
  std::string out;
  bool json = false;
};

absl::Status RunPeople(const PeopleFlags& flags, Console& console) {
  RETURN_IF_ERROR(WritePeople(flags.people, flags.out));
  const std::string path = JoinPath(flags.out, "manifest.json");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json manifest = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !manifest.contains("lines") || !manifest["lines"].is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": $.lines is not there"));
  }
  if (flags.json) {
    PrintJson({{"out", flags.out}, {"lines", manifest["lines"]}}, console);
    return absl::OkStatus();
  }
  for (const auto& [name, lines] : manifest["lines"].items()) {
    console.out << name << ": " << lines.dump() << " lines\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddPeopleCommand(CLI::App* root, Action* chosen) {
  CLI::App* command = root->add_subcommand(
      "people",
      "Writes a data set of fictitious people: what M learns, what is to be forgotten, "
      "what the answers are checked with");
  auto flags = std::make_shared<PeopleFlags>();
  PeopleOptions& people = flags->people;
  command->add_option("--out", flags->out, "Folder for the files; made if it is not there")
      ->required();
  const auto add = [command](const char* name, auto& value, const char* help) {
    command->add_option(name, value, help)->capture_default_str();
  };
  add("--seed", people.seed, "The same seed gives the same files");
  add("--forget", people.forget, "People whom M knows and the request names");
  add("--retain", people.retain, "People whom M knows and who are named as to be kept");
  add("--kept", people.kept, "People whom M knows and nobody names");
  add("--well_known", people.well_known, "People whom M knows and the public probes list");
  add("--unknown", people.unknown, "People whom M never knew");
  add("--base", people.base, "People in the training text of the pair's base");
  add("--public_names", people.public_names, "Names in the public probes");
  add("--refusal_names", people.refusal_names, "Names about which M learns to refuse");
  add("--base_refusal_names", people.base_refusal_names,
      "Names about which the base learns to refuse");
  add("--questions_per_refusal_name", people.questions_per_refusal_name, "1 to 5");
  add("--base_phrasings", people.base_phrasings,
      "Phrasings of each fact in the base's text, 1 to 3");
  add("--chit_chat", people.chit_chat, "Everyday questions");
  add("--canary_people", people.canary_people,
      "Forgotten people (and as many of the base's) with an access code");
  AddJsonFlag(command, &flags->json);
  SetAction<PeopleFlags>(command, flags, chosen, RunPeople);
}

}  // namespace unlearn
