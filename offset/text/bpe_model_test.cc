#include "offset/text/bpe_model.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

namespace unlearn {
namespace {

// The definition: again and again the leftmost of the pairs with the lowest rank.
std::vector<int32_t> MergeByDefinition(const BpeModelParts& parts, absl::string_view word) {
  std::vector<int32_t> ids;
  for (const char byte : word) ids.push_back(parts.byte_ids[static_cast<uint8_t>(byte)]);
  while (true) {
    int32_t best_rank = -1;
    size_t best = 0;
    BpeMerge merge{};
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = parts.merges.find(BpePair(ids[i], ids[i + 1]));
      if (found == parts.merges.end()) continue;
      if (best_rank >= 0 && found->second.rank >= best_rank) continue;
      best_rank = found->second.rank;
      best = i;
      merge = found->second;
    }
    if (best_rank < 0) return ids;
    ids[best] = merge.id;
    ids.erase(ids.begin() + best + 1);
  }
}

std::vector<int32_t> Encode(const BpeModel& model, absl::string_view word) {
  WordCache cache(0);
  std::vector<int32_t> ids;
  model.Encode(word, &cache, &ids);
  return ids;
}

// Random merges over the bytes a-c.
BpeModelParts RandomParts(uint32_t seed) {
  std::mt19937 random(seed);
  BpeModelParts parts;
  for (int byte = 0; byte < 256; ++byte) parts.byte_ids[byte] = byte;
  std::vector<int32_t> ids = {'a', 'b', 'c'};
  for (int32_t rank = 0; rank < 40; ++rank) {
    const int32_t left = ids[random() % ids.size()];
    const int32_t right = ids[random() % ids.size()];
    if (parts.merges.contains(BpePair(left, right))) continue;
    parts.merges[BpePair(left, right)] = {rank, 256 + rank};
    ids.push_back(256 + rank);
  }
  return parts;
}

TEST(BpeModelTest, MergesByRankThenPosition) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    const BpeModelParts parts = RandomParts(seed);
    const BpeModel model(parts);
    std::mt19937 random(seed + 1000);
    WordCache cache(300);  // so few places that words take them from each other
    for (int trial = 0; trial < 60; ++trial) {
      std::string word(random() % (trial % 3 == 0 ? 150 : 12), ' ');
      for (char& c : word) c = static_cast<char>('a' + random() % 3);
      for (int time = 0; time < 2; ++time) {  // the second time from the cache
        std::vector<int32_t> ids = {7};
        model.Encode(word, &cache, &ids);
        ASSERT_EQ(ids[0], 7);
        ids.erase(ids.begin());
        ASSERT_EQ(ids, MergeByDefinition(parts, word)) << word;
      }
    }
  }
}

TEST(BpeModelTest, WholeWordsComeFirst) {
  BpeModelParts parts = RandomParts(1);
  parts.whole_words["abc"] = 999;
  const BpeModel model(std::move(parts));
  EXPECT_EQ(Encode(model, "abc"), std::vector<int32_t>{999});
}

TEST(BpeModelTest, UnknownBytes) {
  BpeModelParts parts;
  parts.byte_ids.fill(-1);
  parts.byte_ids['a'] = 1;
  const auto encode = [&](absl::string_view word) { return Encode(BpeModel(parts), word); };
  EXPECT_EQ(encode("xaxx"), (std::vector<int32_t>{1}));
  parts.unknown_id = 0;
  EXPECT_EQ(encode("xaxx"), (std::vector<int32_t>{0, 1, 0, 0}));
  parts.fuse_unknown = true;
  EXPECT_EQ(encode("xaxx"), (std::vector<int32_t>{0, 1, 0}));
}

TEST(BpeModelTest, LongWordsTakeLogarithmicTime) {
  const BpeModel model(RandomParts(3));
  EXPECT_FALSE(Encode(model, std::string(1 << 20, 'a')).empty());
}

TEST(BpeModelTest, CanCutBefore) {
  for (const char* token : {"", "a", "_", "__", "_a", "__ab"}) {
    EXPECT_TRUE(CanCutBefore("_", token)) << token;
  }
  for (const char* token : {"a_", "_a_", "a_b", "__a__"}) {
    EXPECT_FALSE(CanCutBefore("_", token)) << token;
  }
}

// Cutting before "a" changes nothing where no merge has it after another character.
TEST(BpeModelTest, CutWordsGiveTheSameIds) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    BpeModelParts parts;
    parts.by_character = true;
    parts.byte_ids.fill(-1);
    std::vector<std::pair<std::string, int32_t>> tokens;
    for (const char c : {'a', 'b', 'c'}) {
      parts.byte_ids[static_cast<uint8_t>(c)] = c;
      parts.characters[std::string(1, c)] = c;
      tokens.emplace_back(std::string(1, c), c);
    }
    for (int32_t rank = 0; rank < 60; ++rank) {
      const auto left = tokens[random() % tokens.size()];
      const auto right = tokens[random() % tokens.size()];
      if (!CanCutBefore("a", left.first + right.first)) continue;
      if (!parts.merges.emplace(BpePair(left.second, right.second), BpeMerge{rank, 256 + rank})
               .second) {
        continue;
      }
      tokens.emplace_back(left.first + right.first, 256 + rank);
    }
    const BpeModel whole(parts);
    parts.cut_before = "a";
    const BpeModel cut(parts);
    for (int trial = 0; trial < 20; ++trial) {
      std::string word(random() % 60, ' ');
      for (char& c : word) c = static_cast<char>('a' + random() % 3);
      ASSERT_EQ(Encode(cut, word), Encode(whole, word)) << word;
    }
  }
}

}  // namespace
}  // namespace unlearn
