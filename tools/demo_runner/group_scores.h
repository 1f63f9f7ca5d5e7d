#ifndef TOOLS_DEMO_RUNNER_GROUP_SCORES_H_
#define TOOLS_DEMO_RUNNER_GROUP_SCORES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "tools/harness/asker.h"
#include "trainer/train/encoded_item.h"

namespace unlearn {

// What one group of questions scores at one moment, asked through the proxy.
struct GroupScores {
  double fact_rate = 0;    // share of answers that hold the secret
  double rouge = 0;        // mean ROUGE-L recall against the true answer
  double probability = 0;  // mean over items of exp(-mean NLL of the true answer)
  double fluency = 0;      // share of fluent answers
  std::vector<std::string> answers;
  int64_t tokens = 0;  // generated
  double seconds = 0;  // of generating
};

absl::StatusOr<GroupScores> AskGroup(const Asker& asker, const PromptTemplate& format,
                                     const std::vector<v1::Item>& items, int max_tokens);

}  // namespace unlearn

#endif  // TOOLS_DEMO_RUNNER_GROUP_SCORES_H_
