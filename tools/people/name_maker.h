#ifndef TOOLS_PEOPLE_NAME_MAKER_H_
#define TOOLS_PEOPLE_NAME_MAKER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "tools/people/seeded_random.h"

namespace unlearn {

// Draws unusual but pronounceable full names. All names of all groups come from one maker, so that
// nothing about a name tells which group it is in. Not thread-safe.
class NameMaker {
 public:
  explicit NameMaker(uint64_t seed);

  // "First Last". First names are shared among people; a last name is given out once, is no part
  // of another last name, and holds no value of a fact. RESOURCE_EXHAUSTED when the syllables
  // yield no more.
  absl::StatusOr<std::string> Next();

 private:
  bool IsUsable(const std::string& lower_last_name) const;

  SeededRandom random_;
  std::vector<std::string> forbidden_parts_;         // in lower case
  absl::flat_hash_set<std::string> last_names_;      // given out, in lower case
  absl::flat_hash_set<std::string> parts_of_names_;  // every substring of those, from 4 letters on
};

}  // namespace unlearn

#endif  // TOOLS_PEOPLE_NAME_MAKER_H_
