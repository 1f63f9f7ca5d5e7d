#include "offset/text/byte_trie.h"

namespace unlearn {

void ByteTrie::Insert(absl::string_view text, int32_t value) {
  int32_t node = kRoot;
  for (const char byte : text) {
    int32_t next = Next(node, byte);
    if (next < 0) {
      next = static_cast<int32_t>(values_.size());
      values_.push_back(-1);
      if (node == kRoot) {
        first_[static_cast<uint8_t>(byte)] = next;
      } else {
        next_.emplace(Key(node, byte), next);
      }
    }
    node = next;
  }
  values_[node] = value;
}

size_t ByteTrie::LongestPrefix(absl::string_view text) const {
  size_t longest = 0;
  int32_t node = kRoot;
  for (size_t i = 0; i < text.size(); ++i) {
    node = Next(node, text[i]);
    if (node < 0) break;
    if (values_[node] >= 0) longest = i + 1;
  }
  return longest;
}

}  // namespace unlearn
