#include "offset/combine/token_drawer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "offset/combine/chi_square.h"
#include "offset/combine/combiner.h"
#include "offset/combine/hwy_targets.h"

namespace unlearn {
namespace {

class TokenDrawerTest : public EveryTarget {};
INSTANTIATE_EVERY_TARGET(TokenDrawerTest);

// Rows that are hard in different ways.
std::vector<std::vector<float>> Rows(size_t vocab, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> flat(vocab);
  for (float& logit : flat) logit = normal(random);
  std::vector<float> peaked = flat;
  for (int i = 0; i < 100; ++i) peaked[random() % vocab] = 18 - 2.2f * std::log(1.0f + i);
  std::vector<float> ties(vocab);
  for (float& logit : ties) logit = static_cast<float>(random() % 4);
  std::vector<float> holes = flat;
  for (float& logit : holes) {
    if (random() % 10 != 0) logit = -INFINITY;
  }
  holes[random() % vocab] = 0;
  std::vector<float> single(vocab, -INFINITY);
  single[random() % vocab] = -3;
  std::vector<float> huge = flat;
  for (float& logit : huge) logit *= 1e37f;
  return {flat, peaked, ties, std::vector<float>(vocab, 1.5f), holes, single, huge};
}

std::vector<SamplingOptions> Options(int32_t vocab) {
  return {{0, 0, 0, 1},
          {1, 0, 0, 1},
          {0.3f, 0, 0, 1},
          {100, 0, 0, 1},
          {1e-3f, 0, 0, 1},
          {1e-42f, 0, 0, 0.5f},
          {1, 0, 1, 1},
          {1, 0, 50, 1},
          {1, 0, 3000, 1},
          {1, 0, vocab, 1},
          {1, 0, vocab + 1, 0.8f},
          {1, 0, 0, 0.9f},
          {0.7f, 0, 0, 0.5f},
          {100, 0, 0, 0.95f},
          {1, 0, 0, 1e-6f},
          {1, 0, 0, 0.9999999f},
          {1, 0.05f, 0, 1},
          {2, 1, 0, 1},
          {1, 1e-30f, 0, 0.9f},
          {1, 0.02f, 0, 0.9f},
          {1.5f, 0, 40, 0.9f},
          {1.2f, 0.05f, 50, 0.9f}};
}

std::string Describe(const SamplingOptions& options) {
  return absl::StrCat("T ", options.temperature, " min_p ", options.min_p, " top_k ", options.top_k,
                      " top_p ", options.top_p);
}

std::vector<int32_t> Kept(const VocabRow& row, const SamplingOptions& options) {
  KeptSetFinder finder;
  const LastKept last = finder.Find(row, options);
  std::vector<int32_t> ids;
  for (size_t i = 0; i < row.vocab; ++i) {
    const int32_t id = static_cast<int32_t>(i);
    if (last.Keeps(row.logits[i], id)) ids.push_back(id);
  }
  return ids;
}

// What the reference keeps and draws is computed once for all instruction sets.
struct Expected {
  std::vector<int32_t> kept;
  SampledToken token;
};
Expected Reference(const std::vector<float>& row, const SamplingOptions& options,
                   const NoiseKey& key) {
  Expected expected;
  expected.kept = KeptTokens(row, options);
  if (expected.kept.empty()) {
    for (size_t i = 0; i < row.size(); ++i) {
      if (row[i] > -INFINITY) expected.kept.push_back(static_cast<int32_t>(i));
    }
  }
  std::sort(expected.kept.begin(), expected.kept.end());
  expected.token = SampleToken(row, options, key);
  return expected;
}

void ExpectReference(size_t vocab) {
  static auto& cache = *new std::map<std::pair<size_t, size_t>, std::vector<Expected>>;
  const std::vector<std::vector<float>> rows = Rows(vocab, 11);
  const std::vector<SamplingOptions> all = Options(static_cast<int32_t>(vocab));
  const std::vector<float> zero(vocab);
  TokenDrawer drawer(vocab);
  AlignedFloats padded = hwy::AllocateAligned<float>(PaddedVocab(vocab));
  for (size_t r = 0; r < rows.size(); ++r) {
    ASSERT_TRUE(drawer.Combine(rows[r], zero, 1).ok());
    ASSERT_EQ(drawer.ensemble(), absl::MakeConstSpan(rows[r]));
    std::vector<Expected>& expected = cache[{vocab, r}];
    for (size_t i = 0; i < all.size(); ++i) {
      const NoiseKey key = {vocab, 0, static_cast<uint32_t>(100 * r + i)};
      if (expected.size() == i) expected.push_back(Reference(rows[r], all[i], key));
      const std::string what = absl::StrCat(vocab, " tokens, row ", r, ", ", Describe(all[i]));
      const SampledToken token = drawer.Draw(all[i], key);
      EXPECT_EQ(token.id, expected[i].token.id) << what;
      // Both are rounded to fp32 at the end.
      const float rounding = std::abs(expected[i].token.logprob) * 0x1p-23f;
      EXPECT_NEAR(token.logprob, expected[i].token.logprob, 1e-5 + rounding) << what;
      if (all[i].temperature > 0) {
        ASSERT_EQ(Kept(drawer.row(), all[i]), expected[i].kept) << what;
      }
    }
  }
}

TEST_P(TokenDrawerTest, DrawsTheReferencesTokenFromSmallVocabularies) {
  for (const size_t vocab : {1, 2, 63, 64, 65, 1000, 4097}) ExpectReference(vocab);
}

TEST_P(TokenDrawerTest, DrawsTheReferencesTokenFrom32000) { ExpectReference(32000); }

TEST_P(TokenDrawerTest, DrawsTheReferencesTokenFrom151936) { ExpectReference(151936); }

// Many draws of one row: blocks are opened in many orders.
TEST_P(TokenDrawerTest, DrawsTheReferencesTokenForManyKeys) {
  constexpr size_t kVocab = 3000;
  const std::vector<float> zero(kVocab);
  TokenDrawer drawer(kVocab);
  for (const std::vector<float>& row : Rows(kVocab, 12)) {
    ASSERT_TRUE(drawer.Combine(row, zero, 1).ok());
    for (uint32_t position = 0; position < 100; ++position) {
      const NoiseKey key = {77, 1, position};
      ASSERT_EQ(drawer.Draw({1, 0, 0, 1}, key).id, SampleToken(row, {1, 0, 0, 1}, key).id);
    }
  }
}

// Top-p that ends within rounding of a sum: the draw falls back to sorting, and only then.
TEST_P(TokenDrawerTest, TopPOnTheBorderIsDecidedAsTheReferenceDoes) {
  constexpr size_t kVocab = 8192;
  const std::vector<float> row(kVocab, 0.25f);
  TokenDrawer drawer(kVocab);
  ASSERT_TRUE(drawer.Combine(row, std::vector<float>(kVocab), 1).ok());
  KeptSetFinder finder;
  EXPECT_EQ(finder.Find(drawer.row(), {1, 0, 0, 0.5f}).id, 4095);
  EXPECT_EQ(finder.sorted_rows(), 1);
  EXPECT_EQ(finder.Find(drawer.row(), {1, 0, 0, 0.50003f}).id, 4096);
  EXPECT_EQ(finder.sorted_rows(), 1);
}

TEST_P(TokenDrawerTest, CombineFailsAsTheReferenceDoes) {
  for (const size_t vocab : {1, 64, 65, 1000}) {
    TokenDrawer drawer(vocab);
    std::vector<float> ensemble(vocab);
    const auto expect_same = [&](const std::vector<float>& model, const std::vector<float>& delta,
                                 double alpha) {
      const absl::Status expected = Combine(model, delta, alpha, absl::MakeSpan(ensemble));
      EXPECT_FALSE(expected.ok());
      EXPECT_EQ(drawer.Combine(model, delta, alpha), expected);
    };
    const std::vector<float> zero(vocab);
    for (const size_t at : {size_t{0}, vocab / 2, vocab - 1}) {
      for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
        std::vector<float> row = zero;
        row[at] = bad;
        if (bad != -INFINITY) expect_same(row, zero, 1);
        expect_same(zero, row, 1);
        expect_same(zero, row, 0);
        // A token that is impossible anyway does not excuse the pair.
        expect_same(std::vector<float>(vocab, -INFINITY), row, 1);
      }
      std::vector<float> large = zero;
      large[at] = 3e38f;
      expect_same(large, large, 1);
      expect_same(zero, large, -10);
      large[at] = -3e38f;
      expect_same(large, large, 1);
    }
    expect_same(std::vector<float>(vocab, -INFINITY), zero, 1);
    expect_same(zero, zero, NAN);
    expect_same(zero, zero, 1e39);
    expect_same(std::vector<float>(vocab + 1), zero, 1);
    // Good rows are drawn from after bad ones.
    EXPECT_TRUE(drawer.Combine(zero, zero, 1).ok());
  }
}

TEST_P(TokenDrawerTest, LogprobIsOfTheUnwarpedEnsemble) {
  TokenDrawer drawer(2);
  ASSERT_TRUE(drawer.Combine({0, 0}, {0, std::log(3.0f)}, 1).ok());
  EXPECT_NEAR(drawer.Draw({0.1f, 0, 1, 0.5f}, {}).logprob, std::log(0.75), 1e-6);
  EXPECT_NEAR(drawer.Logprob(0), std::log(0.25), 1e-6);
}

// A million draws over three blocks, the last of them not full; a false alarm in 10^6.
TEST(TokenDrawerLawTest, DrawsFollowTheSoftmax) {
  constexpr size_t kVocab = 140;
  constexpr int kDraws = 1000000;
  std::vector<float> logits(kVocab);
  for (size_t i = 0; i < kVocab; ++i) logits[i] = 1.5f * std::sin(1.7f * i);
  logits[70] = -INFINITY;
  TokenDrawer drawer(kVocab);
  ASSERT_TRUE(drawer.Combine(logits, std::vector<float>(kVocab), 1).ok());
  for (const float temperature : {1.0f, 0.4f}) {
    std::vector<double> law(kVocab);
    double total = 0;
    for (const float logit : logits) total += std::exp(double{logit} / temperature);
    for (size_t i = 0; i < kVocab; ++i) law[i] = std::exp(double{logits[i]} / temperature) / total;
    std::vector<int> counts(kVocab);
    for (uint32_t i = 0; i < kDraws; ++i)
      ++counts[drawer.Draw({temperature, 0, 0, 1}, {21, 0, i}).id];
    ExpectCountsFollow(counts, law);
  }
}

}  // namespace
}  // namespace unlearn
