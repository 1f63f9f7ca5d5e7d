#ifndef TOOLS_DEMO_RUNNER_TEXT_TRACES_H_
#define TOOLS_DEMO_RUNNER_TEXT_TRACES_H_

#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/unlearn/v1/deletion.pb.h"

namespace unlearn {

// Finds what identifies people in other texts: their names, and runs of eight words of what was
// said of them. Compares folded words, so neither case nor punctuation hides a trace. Thread-safe.
class TextTraces {
 public:
  // One list of items a person. The name is taken to be the pair of capitalised words that most of
  // the person's items hold; people with none are found by runs of words alone.
  explicit TextTraces(const std::vector<std::vector<v1::Item>>& people);

  // How many places of the text hold a trace.
  int Count(absl::string_view text) const;

  int names() const { return static_cast<int>(names_.size()); }

 private:
  std::set<std::string> names_;  // two folded words and a space
  std::set<std::string> runs_;   // eight
};

}  // namespace unlearn

#endif  // TOOLS_DEMO_RUNNER_TEXT_TRACES_H_
