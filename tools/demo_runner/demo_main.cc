// The programs behind tools/demo, which installs and builds what this needs and then runs it.

#include <iostream>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "offset/base/file.h"
#include "tools/demo_runner/demo_assets.h"
#include "tools/demo_runner/people_demo.h"
#include "tools/demo_runner/tofu_demo.h"

ABSL_FLAG(std::string, unlearn, "", "Path of the program unlearn.");
ABSL_FLAG(std::string, model_server, "", "Path of unlearn_model_server.");
ABSL_FLAG(std::string, proxy, "", "Path of unlearn_proxy.");
ABSL_FLAG(std::string, trainer, "", "Path of unlearn_trainer.");
ABSL_FLAG(std::string, models, "", "Folder with the checkpoints m/ and base/.");
ABSL_FLAG(std::string, work, "", "Folder for everything the demo writes; emptied first.");
ABSL_FLAG(bool, from_scratch, false, "Trains the checkpoints again before (resumable).");
ABSL_FLAG(std::string, data, "", "Folder with TOFU's file names: the demo on those data instead.");
ABSL_FLAG(std::string, forget_split, "forget01", "With --data: the split to forget.");
ABSL_FLAG(int, people, 0, "With --data: at most this many authors; 0 takes the default of 25.");
ABSL_FLAG(std::string, objective, "", "Objective of the deletion request; empty: the default.");
ABSL_FLAG(bool, json, false, "Prints one JSON object instead of the table.");
ABSL_FLAG(double, build_seconds, 0, "What installing and building took before.");

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("The demonstration; run tools/demo instead.");
  absl::ParseCommandLine(argc, argv);
  const unlearn::Programs programs = {absl::GetFlag(FLAGS_unlearn),
                                      absl::GetFlag(FLAGS_model_server), absl::GetFlag(FLAGS_proxy),
                                      absl::GetFlag(FLAGS_trainer)};
  absl::Status status;
  if (!absl::GetFlag(FLAGS_data).empty()) {
    unlearn::TofuDemoOptions options;
    options.programs = programs;
    options.data = absl::GetFlag(FLAGS_data);
    options.forget_split = absl::GetFlag(FLAGS_forget_split);
    options.people = absl::GetFlag(FLAGS_people);
    options.work = absl::GetFlag(FLAGS_work);
    options.objective = absl::GetFlag(FLAGS_objective);
    options.json = absl::GetFlag(FLAGS_json);
    options.build_seconds = absl::GetFlag(FLAGS_build_seconds);
    status = unlearn::RunTofuDemo(options);
  } else {
    std::string models = absl::GetFlag(FLAGS_models);
    if (absl::GetFlag(FLAGS_from_scratch)) {
      models = unlearn::JoinPath(absl::GetFlag(FLAGS_work), "models");
      status = unlearn::MakeDemoModels(models);
    }
    unlearn::PeopleDemoOptions options;
    options.programs = programs;
    options.models = models;
    options.work = unlearn::JoinPath(absl::GetFlag(FLAGS_work), "people");
    options.objective = absl::GetFlag(FLAGS_objective);
    options.json = absl::GetFlag(FLAGS_json);
    options.build_seconds = absl::GetFlag(FLAGS_build_seconds);
    if (status.ok()) status = unlearn::RunPeopleDemo(options);
  }
  if (status.ok()) return 0;
  std::cerr << "demo: " << status.message() << "\n";
  return 1;
}
