#ifndef TOOLS_DEMO_RUNNER_PEOPLE_DEMO_H_
#define TOOLS_DEMO_RUNNER_PEOPLE_DEMO_H_

#include <string>

#include "absl/status/status.h"
#include "tools/harness/server_trio.h"

namespace unlearn {

struct PeopleDemoOptions {
  Programs programs;
  std::string models;  // folder with m/ and base/
  std::string work;    // emptied first
  std::string objective;
  bool json = false;
  double build_seconds = 0;  // spent before this program began
};

// The main job on fictitious people, through the three servers and the CLI: asks before, submits
// the deletion request, asks again after, prints the table (or one JSON object).
absl::Status RunPeopleDemo(const PeopleDemoOptions& options);

}  // namespace unlearn

#endif  // TOOLS_DEMO_RUNNER_PEOPLE_DEMO_H_
