#include "offset/text/bpe_model.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

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
    for (int trial = 0; trial < 20; ++trial) {
      std::string word(random() % 150, ' ');
      for (char& c : word) c = static_cast<char>('a' + random() % 3);
      std::vector<int32_t> ids;
      model.Encode(word, &ids);
      ASSERT_EQ(ids, MergeByDefinition(parts, word)) << word;
      std::vector<int32_t> again;  // from the cache
      model.Encode(word, &again);
      ASSERT_EQ(again, ids);
    }
  }
}

TEST(BpeModelTest, WholeWordsComeFirst) {
  BpeModelParts parts = RandomParts(1);
  parts.whole_words["abc"] = 999;
  const BpeModel model(std::move(parts));
  std::vector<int32_t> ids;
  model.Encode("abc", &ids);
  EXPECT_EQ(ids, std::vector<int32_t>{999});
}

TEST(BpeModelTest, UnknownBytes) {
  BpeModelParts parts;
  parts.byte_ids.fill(-1);
  parts.byte_ids['a'] = 1;
  const auto encode = [&](absl::string_view word) {
    std::vector<int32_t> ids;
    BpeModel(parts).Encode(word, &ids);
    return ids;
  };
  EXPECT_EQ(encode("xaxx"), (std::vector<int32_t>{1}));
  parts.unknown_id = 0;
  EXPECT_EQ(encode("xaxx"), (std::vector<int32_t>{0, 1, 0, 0}));
  parts.fuse_unknown = true;
  EXPECT_EQ(encode("xaxx"), (std::vector<int32_t>{0, 1, 0}));
}

TEST(BpeModelTest, LongWordsTakeLogarithmicTime) {
  const BpeModel model(RandomParts(3));
  std::vector<int32_t> ids;
  model.Encode(std::string(1 << 20, 'a'), &ids);
  EXPECT_FALSE(ids.empty());
}

TEST(BpeModelTest, ThreadsShareTheCache) {
  const BpeModelParts parts = RandomParts(5);
  const BpeModel model(parts);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t % 2);  // pairs of threads meet on the same words
      for (int i = 0; i < 20000; ++i) {
        std::string word(1 + random() % 12, ' ');
        for (char& c : word) c = static_cast<char>('a' + random() % 3);
        std::vector<int32_t> ids;
        model.Encode(word, &ids);
        if (ids != MergeByDefinition(parts, word)) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace unlearn
