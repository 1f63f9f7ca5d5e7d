// Writes a data set of fictitious people: people --out=FOLDER --seed=N
#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "nlohmann/json.hpp"
#include "offset/base/file.h"
#include "tools/people/people_files.h"

ABSL_FLAG(std::string, out, "", "folder for the files; made if it is not there");
ABSL_FLAG(uint64_t, seed, 1, "the same seed gives the same files");
ABSL_FLAG(int, forget, 20, "people whom M knows and the request names");
ABSL_FLAG(int, retain, 40, "people whom M knows and who are named as to be kept");
ABSL_FLAG(int, kept, 100, "people whom M knows and nobody names");
ABSL_FLAG(int, well_known, 20, "people whom M knows and the public probes list");
ABSL_FLAG(int, unknown, 40, "people whom M never knew");
ABSL_FLAG(int, base, 300, "people in the base's training text");
ABSL_FLAG(int, public_names, 300, "names in the public probes");
ABSL_FLAG(int, refusal_names, 600, "names about which M learns to refuse");
ABSL_FLAG(int, base_refusal_names, 300, "names about which the base learns to refuse");
ABSL_FLAG(int, questions_per_refusal_name, 2, "1 to 5");
ABSL_FLAG(int, base_phrasings, 1, "phrasings of each fact in the base's text, 1 to 3");
ABSL_FLAG(int, chit_chat, 300, "everyday questions");
ABSL_FLAG(int, canary_people, 2,
          "forgotten people (and as many of the base's) with an access code");

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("Writes a data set of fictitious people: --out=FOLDER --seed=N");
  const auto rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    std::fprintf(stderr, "unexpected argument \"%s\"; every setting is a flag, see --help\n",
                 rest[1]);
    return 2;
  }
  const std::string out = absl::GetFlag(FLAGS_out);
  if (out.empty()) {
    std::fprintf(stderr, "--out is empty; name the folder for the files\n");
    return 2;
  }
  unlearn::PeopleOptions options;
  options.seed = absl::GetFlag(FLAGS_seed);
  options.forget = absl::GetFlag(FLAGS_forget);
  options.retain = absl::GetFlag(FLAGS_retain);
  options.kept = absl::GetFlag(FLAGS_kept);
  options.well_known = absl::GetFlag(FLAGS_well_known);
  options.unknown = absl::GetFlag(FLAGS_unknown);
  options.base = absl::GetFlag(FLAGS_base);
  options.public_names = absl::GetFlag(FLAGS_public_names);
  options.refusal_names = absl::GetFlag(FLAGS_refusal_names);
  options.base_refusal_names = absl::GetFlag(FLAGS_base_refusal_names);
  options.questions_per_refusal_name = absl::GetFlag(FLAGS_questions_per_refusal_name);
  options.base_phrasings = absl::GetFlag(FLAGS_base_phrasings);
  options.chit_chat = absl::GetFlag(FLAGS_chit_chat);
  options.canary_people = absl::GetFlag(FLAGS_canary_people);
  const absl::Status status = unlearn::WritePeople(options, out);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  const auto text = unlearn::ReadFile(unlearn::JoinPath(out, "manifest.json"));
  if (!text.ok()) {
    std::fprintf(stderr, "%s\n", text.status().ToString().c_str());
    return 1;
  }
  const auto manifest = nlohmann::ordered_json::parse(*text, nullptr, false);
  std::printf("%s: %s names, %s other words, lines: %s\n", out.c_str(),
              manifest["distinct_names"].dump().c_str(), manifest["distinct_words"].dump().c_str(),
              manifest["lines"].dump().c_str());
  return 0;
}
