#ifndef OFFSET_TEXT_BYTE_TRIE_H_
#define OFFSET_TEXT_BYTE_TRIE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// Texts with a value each, walked byte by byte. Immutable and thread-safe once filled.
class ByteTrie {
 public:
  ByteTrie() { first_.fill(-1); }

  bool empty() const { return values_.size() == 1; }

  // `text` must not be empty, `value` not negative; the last value of a text counts.
  void Insert(absl::string_view text, int32_t value);

  static constexpr int32_t kRoot = 0;

  // The node that `byte` leads to; -1: none.
  int32_t Next(int32_t node, char byte) const {
    if (node == kRoot) return first_[static_cast<uint8_t>(byte)];
    const auto found = next_.find(Key(node, byte));
    return found == next_.end() ? -1 : found->second;
  }

  // -1: no text ends here.
  int32_t ValueAt(int32_t node) const { return values_[node]; }

  // The bytes of the longest text that `text` begins with; 0: none does.
  size_t LongestPrefix(absl::string_view text) const;

 private:
  static uint64_t Key(int32_t node, char byte) {
    return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
  }

  std::vector<int32_t> values_ = {-1};  // by node
  std::array<int32_t, 256> first_;      // the root's children: most steps begin there
  absl::flat_hash_map<uint64_t, int32_t> next_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_BYTE_TRIE_H_
