#ifndef TOOLS_PEOPLE_SEEDED_RANDOM_H_
#define TOOLS_PEOPLE_SEEDED_RANDOM_H_

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace unlearn {

// xoshiro256** seeded through SplitMix64. The standard library's distributions differ between
// platforms, so nothing here uses them: the same seed gives the same files everywhere. Not for
// secrets that protect anything real. Not thread-safe.
class SeededRandom {
 public:
  // `stream` names what the numbers are for ("names", "facts"): streams of one seed are
  // independent, so that asking for more of one thing does not change another.
  SeededRandom(uint64_t seed, absl::string_view stream);

  uint64_t Next();

  // Uniform in [0, bound), without modulo bias. `bound` > 0.
  uint64_t Below(uint64_t bound);

  // Fisher-Yates.
  template <typename T>
  void Shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[Below(i)]);
  }

  // `items` is not empty.
  template <typename T>
  const T& Pick(const std::vector<T>& items) {
    return items[Below(items.size())];
  }

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace unlearn

#endif  // TOOLS_PEOPLE_SEEDED_RANDOM_H_
