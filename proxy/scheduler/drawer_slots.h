#ifndef PROXY_SCHEDULER_DRAWER_SLOTS_H_
#define PROXY_SCHEDULER_DRAWER_SLOTS_H_

#include <algorithm>
#include <cstddef>
#include <vector>

namespace unlearn {

// Who has which slot of a drawer: every stream one of its own until it ends, and those that want
// several rows at once spare ones for a step. A stream that is admitted always finds its own.
class DrawerSlots {
 public:
  // Slots from 0 up.
  DrawerSlots(int streams, int spare) : spare_(spare), most_(spare) {
    for (int slot = streams + spare; slot > 0;) free_.push_back(--slot);
  }

  // Of a stream that begins; at most `streams` have one.
  std::vector<int> TakeOne() { return {Pop()}; }

  // Leaves the stream's own slot as it is and gives it spare ones up to `rows` in all: as many as
  // there are, and no more than its share where `sharers` streams want some.
  void Share(std::vector<int>& slots, size_t rows, size_t sharers) {
    while (slots.size() > 1) {
      free_.push_back(slots.back());
      slots.pop_back();
      ++spare_;
    }
    const size_t share = std::max<size_t>(1, most_ / std::max<size_t>(1, sharers));
    for (; slots.size() < std::min(rows, share) && spare_ > 0; --spare_) slots.push_back(Pop());
  }

  // All of a stream that ends; nothing, where it never began.
  void GiveBack(std::vector<int>& slots) {
    if (slots.empty()) return;
    spare_ += static_cast<int>(slots.size()) - 1;
    free_.insert(free_.end(), slots.begin(), slots.end());
    slots.clear();
  }

 private:
  int Pop() {
    const int slot = free_.back();
    free_.pop_back();
    return slot;
  }

  std::vector<int> free_;
  int spare_;  // of free_: those that no new stream may need
  const size_t most_;
};

}  // namespace unlearn

#endif  // PROXY_SCHEDULER_DRAWER_SLOTS_H_
