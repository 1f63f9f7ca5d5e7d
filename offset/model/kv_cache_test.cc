#include "offset/model/kv_cache.h"

#include <set>

#include "gtest/gtest.h"
#include "offset/model/kv_test_config.h"

namespace unlearn {
namespace {

constexpr int64_t kPage = KvCache::kPageTokens;

TEST(KvCacheTest, RoomIsRoundedUpToPages) {
  KvCache cache(KvTestConfig(), 3 * kPage + 1);
  EXPECT_EQ(cache.total_tokens(), 4 * kPage);
  EXPECT_EQ(cache.free_tokens(), 4 * kPage);
  EXPECT_EQ(cache.row_floats(), 8);
  EXPECT_EQ(KvCache(KvTestConfig(), 0).total_tokens(), 0);
}

TEST(KvCacheTest, ReserveTakesPagesOnlyAsTheyAreNeeded) {
  KvCache cache(KvTestConfig(), 4 * kPage);
  const int sequence = cache.AddSequence();
  EXPECT_EQ(cache.free_tokens(), 4 * kPage);
  ASSERT_TRUE(cache.Reserve(sequence, 1).ok());
  EXPECT_EQ(cache.free_tokens(), 3 * kPage);
  EXPECT_EQ(cache.reserved(sequence), kPage);
  ASSERT_TRUE(cache.Reserve(sequence, kPage).ok());
  EXPECT_EQ(cache.free_tokens(), 3 * kPage);
  ASSERT_TRUE(cache.Reserve(sequence, kPage + 1).ok());
  EXPECT_EQ(cache.free_tokens(), 2 * kPage);
  ASSERT_TRUE(cache.Reserve(sequence, 3).ok());  // never gives back
  EXPECT_EQ(cache.reserved(sequence), 2 * kPage);
}

TEST(KvCacheTest, TruncateGivesBackWholePagesOnly) {
  KvCache cache(KvTestConfig(), 4 * kPage);
  const int sequence = cache.AddSequence();
  ASSERT_TRUE(cache.Reserve(sequence, 4 * kPage).ok());
  cache.Truncate(sequence, 2 * kPage + 1);
  EXPECT_EQ(cache.free_tokens(), kPage);
  cache.Truncate(sequence, 2 * kPage);
  EXPECT_EQ(cache.free_tokens(), 2 * kPage);
  cache.Truncate(sequence, 100 * kPage);
  EXPECT_EQ(cache.free_tokens(), 2 * kPage);
  cache.Truncate(sequence, 0);
  EXPECT_EQ(cache.free_tokens(), 4 * kPage);
}

TEST(KvCacheTest, ExhaustionChangesNothing) {
  KvCache cache(KvTestConfig(), 3 * kPage);
  const int first = cache.AddSequence();
  const int second = cache.AddSequence();
  ASSERT_TRUE(cache.Reserve(first, 2 * kPage).ok());
  const absl::Status status = cache.Reserve(second, kPage + 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("--kv_cache_tokens"), std::string::npos);
  EXPECT_EQ(cache.free_tokens(), kPage);
  EXPECT_EQ(cache.reserved(second), 0);
  EXPECT_TRUE(cache.Reserve(second, kPage).ok());
  EXPECT_EQ(cache.Reserve(first, 2 * kPage + 1).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cache.reserved(first), 2 * kPage);
  cache.RemoveSequence(second);
  EXPECT_TRUE(cache.Reserve(first, 2 * kPage + 1).ok());
}

TEST(KvCacheTest, RemovedSequencesAndTheirPagesAreUsedAgain) {
  KvCache cache(KvTestConfig(), 2 * kPage);
  std::set<int> sequences;
  for (int i = 0; i < 50; ++i) {
    const int sequence = cache.AddSequence();
    sequences.insert(sequence);
    EXPECT_EQ(cache.reserved(sequence), 0);
    ASSERT_TRUE(cache.Reserve(sequence, 2 * kPage).ok()) << i;
    cache.RemoveSequence(sequence);
  }
  EXPECT_EQ(sequences.size(), 1u);
  EXPECT_EQ(cache.free_tokens(), 2 * kPage);
}

// Every place of every sequence is its own, after pages have changed hands.
TEST(KvCacheTest, PlacesNeverOverlap) {
  const ModelConfig config = KvTestConfig();
  KvCache cache(config, 6 * kPage);
  const int gone = cache.AddSequence();
  const int kept = cache.AddSequence();
  ASSERT_TRUE(cache.Reserve(gone, 1).ok());
  ASSERT_TRUE(cache.Reserve(kept, 1).ok());
  ASSERT_TRUE(cache.Reserve(gone, 3 * kPage).ok());
  ASSERT_TRUE(cache.Reserve(kept, 2 * kPage).ok());
  cache.Truncate(gone, kPage);
  ASSERT_TRUE(cache.Reserve(kept, 4 * kPage).ok());
  const int added = cache.AddSequence();
  ASSERT_TRUE(cache.Reserve(added, kPage).ok());
  EXPECT_EQ(cache.free_tokens(), 0);

  const auto for_each = [&](const auto& body) {
    float value = 1;
    for (const int sequence : {gone, kept, added}) {
      for (int64_t position = 0; position < cache.reserved(sequence); ++position) {
        for (int64_t layer = 0; layer < config.num_layers; ++layer) {
          for (int64_t i = 0; i < cache.row_floats(); ++i) {
            body(cache.Key(layer, sequence, position)[i], value++);
            body(cache.Value(layer, sequence, position)[i], value++);
          }
        }
      }
    }
  };
  for_each([](float& place, float value) { place = value; });
  int64_t wrong = 0;
  for_each([&](float& place, float value) { wrong += place != value; });
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace unlearn
