#include "offset/text/byte_trie.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace unlearn {
namespace {

TEST(ByteTrieTest, Empty) {
  const ByteTrie trie;
  EXPECT_TRUE(trie.empty());
  EXPECT_EQ(trie.LongestPrefix("abc"), 0u);
}

TEST(ByteTrieTest, FindsWhatAMapFinds) {
  std::mt19937 random(11);
  const auto text = [&](size_t longest) {
    std::string result(1 + random() % longest, ' ');
    for (char& c : result) c = "ab\xE2\xFF\0"[random() % 5];
    return result;
  };
  std::map<std::string, int32_t> texts;
  ByteTrie trie;
  for (int32_t i = 0; i < 200; ++i) {
    const std::string key = text(6);
    trie.Insert(key, i);
    texts[key] = i;
  }
  EXPECT_FALSE(trie.empty());
  for (int trial = 0; trial < 2000; ++trial) {
    const std::string looked = text(9);
    size_t longest = 0;
    int32_t node = ByteTrie::kRoot;
    for (size_t length = 1; length <= looked.size(); ++length) {
      if (node >= 0) node = trie.Next(node, looked[length - 1]);
      const auto found = texts.find(looked.substr(0, length));
      EXPECT_EQ(node < 0 ? -1 : trie.ValueAt(node), found == texts.end() ? -1 : found->second);
      if (found != texts.end()) longest = length;
    }
    EXPECT_EQ(trie.LongestPrefix(looked), longest);
  }
}

}  // namespace
}  // namespace unlearn
