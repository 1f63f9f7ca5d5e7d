#include "offset/pair/prefix_cache.h"

#include <numeric>

#include "gtest/gtest.h"
#include "offset/model/kv_cache.h"
#include "offset/model/kv_test_config.h"

namespace unlearn {
namespace {

constexpr int64_t kPage = KvCache::kPageTokens;

std::vector<int32_t> Tokens(int64_t length, int32_t first = 0) {
  std::vector<int32_t> tokens(length);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

class PrefixCacheTest : public testing::Test {
 protected:
  // A sequence that holds `length` positions, marked with `mark`.
  int Sequence(int64_t length, float mark = 0) {
    const int sequence = cache_.AddSequence();
    EXPECT_TRUE(cache_.Reserve(sequence, length).ok());
    for (int64_t at = 0; at < length; ++at) *cache_.Key(0, sequence, at) = mark + at;
    return sequence;
  }
  int64_t Find(const PrefixCache::Space& space, const std::vector<int32_t>& tokens) {
    found_ = cache_.AddSequence();
    return prefixes_.Find(space, tokens, found_);
  }

  const PrefixCache::Space reference_{nullptr, "a"};
  KvCache cache_{KvTestConfig(), 8 * kPage};
  PrefixCache prefixes_{&cache_};
  int found_ = -1;
};

TEST_F(PrefixCacheTest, FindsWholePagesThatBeginAlike) {
  const std::vector<int32_t> tokens = Tokens(3 * kPage + 5);
  const int sequence = Sequence(tokens.size(), 100);
  prefixes_.Keep(reference_, tokens, sequence);
  cache_.RemoveSequence(sequence);
  EXPECT_EQ(cache_.free_tokens(), 5 * kPage);
  EXPECT_EQ(Find(reference_, tokens), 3 * kPage);
  EXPECT_EQ(*cache_.Key(0, found_, 2 * kPage + 1), 100 + 2 * kPage + 1);
  EXPECT_EQ(Find(reference_, Tokens(3 * kPage - 1)), 2 * kPage);
  EXPECT_EQ(Find(reference_, Tokens(kPage - 1)), 0);
  std::vector<int32_t> other = tokens;
  other[kPage + 3] = 7777;
  EXPECT_EQ(Find(reference_, other), kPage);
  other[3] = 7777;
  EXPECT_EQ(Find(reference_, other), 0);
  EXPECT_EQ(cache_.free_tokens(), 5 * kPage);
}

TEST_F(PrefixCacheTest, WhatTwoRanIsKeptOnce) {
  const std::vector<int32_t> tokens = Tokens(2 * kPage);
  const int first = Sequence(2 * kPage, 100);
  const int second = Sequence(2 * kPage, 100);
  prefixes_.Keep(reference_, tokens, first);
  EXPECT_EQ(cache_.free_tokens(), 4 * kPage);
  prefixes_.Keep(reference_, tokens, second);
  EXPECT_EQ(cache_.free_tokens(), 6 * kPage);
  EXPECT_EQ(*cache_.Key(0, second, kPage), 100 + kPage);
  // The one that goes on keeps more; everything can be reclaimed once both are gone.
  ASSERT_TRUE(cache_.Reserve(second, 3 * kPage).ok());
  prefixes_.Keep(reference_, Tokens(3 * kPage), second);
  cache_.RemoveSequence(first);
  cache_.RemoveSequence(second);
  EXPECT_EQ(prefixes_.reclaimable_pages(), 3);
  Sequence(8 * kPage);
  EXPECT_EQ(prefixes_.reclaimable_pages(), 0);
}

TEST_F(PrefixCacheTest, TenantsAndStacksDoNotMeet) {
  const auto stack = std::make_shared<const LoraStack>();
  const auto other = std::make_shared<const LoraStack>();
  const std::vector<int32_t> tokens = Tokens(kPage);
  const int sequence = Sequence(kPage);
  prefixes_.Keep({stack, "a"}, tokens, sequence);
  EXPECT_EQ(Find({stack, "a"}, tokens), kPage);
  EXPECT_EQ(Find({stack, "b"}, tokens), 0);
  EXPECT_EQ(Find({other, "a"}, tokens), 0);
  EXPECT_EQ(Find({nullptr, "a"}, tokens), 0);
}

TEST_F(PrefixCacheTest, WhoWritesToASharedPageGetsACopy) {
  const std::vector<int32_t> tokens = Tokens(2 * kPage);
  const int sequence = Sequence(2 * kPage, 100);
  prefixes_.Keep(reference_, tokens, sequence);
  ASSERT_EQ(Find(reference_, tokens), 2 * kPage);
  // Rolled back into the first page, and on from there.
  cache_.Truncate(found_, 3);
  ASSERT_TRUE(cache_.Prepare({{found_, 3, 5}}).ok());
  *cache_.Key(0, found_, 3) = -1;
  EXPECT_EQ(*cache_.Key(0, found_, 2), 102);
  EXPECT_EQ(*cache_.Key(0, sequence, 3), 103);
  cache_.RemoveSequence(found_);
  ASSERT_EQ(Find(reference_, tokens), 2 * kPage);
  EXPECT_EQ(*cache_.Key(0, found_, 3), 103);
}

TEST_F(PrefixCacheTest, WhatThePoolNeedsGoesLongestUnusedFirst) {
  const std::vector<int32_t> first = Tokens(3 * kPage), second = Tokens(3 * kPage, 1000);
  for (const std::vector<int32_t>& tokens : {first, second}) {
    const int sequence = Sequence(3 * kPage);
    prefixes_.Keep(reference_, tokens, sequence);
    cache_.RemoveSequence(sequence);
  }
  EXPECT_EQ(prefixes_.reclaimable_pages(), 6);
  ASSERT_EQ(Find(reference_, first), 3 * kPage);
  cache_.RemoveSequence(found_);
  EXPECT_EQ(cache_.free_tokens(), 2 * kPage);
  const int wide = Sequence(4 * kPage);  // two more than are free
  EXPECT_EQ(prefixes_.reclaimable_pages(), 4);
  EXPECT_EQ(Find(reference_, second), kPage);  // its tail went
  EXPECT_EQ(Find(reference_, first), 3 * kPage);
  // What sequences use is not taken: `first` is held by the one that was just found.
  EXPECT_EQ(cache_.Reserve(wide, 5 * kPage).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cache_.reserved(wide), 4 * kPage);
  EXPECT_EQ(Find(reference_, first), 3 * kPage);
}

TEST_F(PrefixCacheTest, PagesOfAStackGoWithIt) {
  auto stack = std::make_shared<const LoraStack>();
  const std::vector<int32_t> tokens = Tokens(2 * kPage);
  const int sequence = Sequence(2 * kPage);
  prefixes_.Keep({stack, "a"}, tokens, sequence);
  prefixes_.Keep(reference_, tokens, sequence);
  cache_.RemoveSequence(sequence);
  prefixes_.DropGone();
  EXPECT_EQ(Find({stack, "a"}, tokens), 2 * kPage);
  cache_.RemoveSequence(found_);
  stack.reset();
  prefixes_.DropGone();
  EXPECT_EQ(Find(reference_, tokens), 2 * kPage);  // the reference stays
  EXPECT_EQ(cache_.free_tokens(), 6 * kPage);
}

}  // namespace
}  // namespace unlearn
