#ifndef TOOLS_DEMO_RUNNER_TOFU_DEMO_H_
#define TOOLS_DEMO_RUNNER_TOFU_DEMO_H_

#include <string>

#include "absl/status/status.h"
#include "tools/harness/server_trio.h"

namespace unlearn {

struct TofuDemoOptions {
  Programs programs;
  std::string data;  // folder with TOFU's file names
  std::string forget_split = "forget01";
  int people = 0;    // authors M learns, the forgotten ones included; 0: 25
  std::string work;  // models are kept here and used again
  std::string objective;
  int steps = 800;  // of the request's training; a base that knows nobody needs more than usual
  bool json = false;
  double build_seconds = 0;
};

// The main job on the real TOFU text: trains M, the pair's base (which never sees the forget text)
// and a retain model that never saw the forget set, submits the forget split, and prints ROUGE,
// probability and truth ratio of M, ensemble and retain model side by side, with the forget
// quality's Kolmogorov-Smirnov test.
absl::Status RunTofuDemo(const TofuDemoOptions& options);

}  // namespace unlearn

#endif  // TOOLS_DEMO_RUNNER_TOFU_DEMO_H_
