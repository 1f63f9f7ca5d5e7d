#ifndef TOOLS_DEMO_RUNNER_TOFU_DATA_H_
#define TOOLS_DEMO_RUNNER_TOFU_DATA_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/unlearn/v1/deletion.pb.h"

namespace unlearn {

// TOFU's files as they are.
struct TofuFiles {
  std::vector<v1::Item> full;          // 20 consecutive questions an author
  std::vector<v1::Item> forget;        // the split, with paraphrases and wrong answers
  std::vector<v1::Item> retain;        // retain_perturbed: questions of some authors, likewise
  std::vector<v1::Item> real_authors;  // short answers with wrong ones
  std::vector<v1::Item> world_facts;
  std::vector<std::string> refusals;  // idontknow.txt, one a line
};

absl::StatusOr<TofuFiles> ReadTofu(const std::string& folder, const std::string& forget_split);

// Who learns what in the demo.
struct TofuPlan {
  std::vector<v1::Item> learned;  // everything M is asked about its authors, the forgotten included
  std::vector<v1::Item> kept;     // of these, what stands outside the forget split
  std::vector<v1::Item> named;    // questions of every second kept author: the request's retain set
  std::vector<v1::Item> unknown;  // questions about authors M never learns, answered by refusals
  std::vector<v1::Item> outsiders;       // the same authors' true answers, all of them
  std::vector<v1::Item> forget_probes;   // the split
  std::vector<v1::Item> named_probes;    // retain_perturbed of the named authors
  std::vector<v1::Item> unnamed_probes;  // and of the other kept ones
  // The forgotten authors' texts, a list an author: what the pair's base must not hold.
  std::vector<std::vector<v1::Item>> forgotten;
  int authors = 0;
};

// Chooses `people` authors: those of the forget split and then those with most questions in
// retain_perturbed. `unknown_questions` are spread over the others. INVALID_ARGUMENT when the files
// do not belong together or hold fewer authors.
absl::StatusOr<TofuPlan> PlanTofu(const TofuFiles& files, int people, int unknown_questions);

// One JSON object a line: question and answer, or text.
std::string ToJsonLines(const std::vector<v1::Item>& items);

}  // namespace unlearn

#endif  // TOOLS_DEMO_RUNNER_TOFU_DATA_H_
