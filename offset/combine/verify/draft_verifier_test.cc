#include "offset/combine/verify/draft_verifier.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/verify/test_laws.h"

namespace unlearn {
namespace {

constexpr int kVocabulary = 12;

// A language model whose row depends on every token before it. `twist` makes it another model that
// is much like it.
std::vector<float> ToyRow(const std::vector<int32_t>& prefix, double twist) {
  uint64_t state = 1469598103934665603u;
  for (const int32_t token : prefix) state = (state ^ (token + 1)) * 1099511628211u;
  std::vector<float> row(kVocabulary);
  for (int id = 0; id < kVocabulary; ++id) {
    const uint64_t mixed = (state ^ (id + 77)) * 0x9E3779B97F4A7C15u;
    row[id] = static_cast<float>((mixed >> 40) / 4194304.0 + twist * std::sin(3.0 * id));
  }
  return row;
}

NoiseKey KeyAt(uint64_t seed, size_t position) {
  return {seed, 0, static_cast<uint32_t>(position)};
}

std::vector<int32_t> Lockstep(int length, const SamplingOptions& options, uint64_t seed) {
  std::vector<int32_t> tokens;
  while (tokens.size() < length) {
    tokens.push_back(SampleToken(ToyRow(tokens, 0), options, KeyAt(seed, tokens.size())).id);
  }
  return tokens;
}

TEST(DraftVerifierTest, TokensAreLockstepsForAnyDrafterAndAnyGamma) {
  std::mt19937_64 random(40);
  const SamplingOptions all_options[] = {
      {0, 0, 0, 1}, {1, 0, 0, 1}, {0.3f, 0, 0, 1}, {1.7f, 0.02f, 8, 0.9f}, {1, 0, 3, 1}};
  double stood[3] = {};
  double drafted_in_all[3] = {};
  for (const SamplingOptions& options : all_options) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const std::vector<int32_t> expected = Lockstep(60, options, seed);
      for (const int gamma : {0, 1, 2, 5, 9}) {
        for (const int drafter : {0, 1, 2}) {
          std::vector<int32_t> tokens;
          while (tokens.size() < expected.size()) {
            // The same noise on a model that is the same (0) or similar (1), or dice (2).
            std::vector<int32_t> draft = tokens;
            std::vector<NoiseKey> keys;
            for (int i = 0; i < gamma; ++i) {
              keys.push_back(KeyAt(seed, draft.size()));
              draft.push_back(
                  drafter == 2
                      ? static_cast<int32_t>(random() % kVocabulary)
                      : SampleToken(ToyRow(draft, drafter * 0.2), options, keys.back()).id);
            }
            keys.push_back(KeyAt(seed, draft.size()));
            std::vector<float> row;
            int asked = 0;
            const auto verified = VerifyDraft(
                absl::MakeConstSpan(draft).subspan(tokens.size()),
                [&](int place) -> absl::StatusOr<absl::Span<const float>> {
                  EXPECT_EQ(place, asked++);
                  row = ToyRow({draft.begin(), draft.begin() + tokens.size() + place}, 0);
                  return absl::MakeConstSpan(row);
                },
                options, keys);
            ASSERT_TRUE(verified.ok()) << verified.status();
            ASSERT_EQ(verified->tokens.size(), verified->accepted + 1);
            EXPECT_EQ(asked, verified->accepted + 1);
            stood[drafter] += verified->accepted;
            drafted_in_all[drafter] += gamma;
            for (const SampledToken& token : verified->tokens) tokens.push_back(token.id);
          }
          tokens.resize(expected.size());
          EXPECT_EQ(tokens, expected) << "gamma " << gamma << " drafter " << drafter;
        }
      }
    }
  }
  EXPECT_EQ(stood[0], drafted_in_all[0]);
  EXPECT_GT(stood[1] / drafted_in_all[1], 2 * stood[2] / drafted_in_all[2]);
}

// One round of three drafted tokens from a different model; the first two tokens of what comes out
// against the product law of the ensemble: 1,000,000 rounds, a false alarm in 10^6.
TEST(DraftVerifierTest, DrawsFollowTheExactLaw) {
  const SamplingOptions options = {1.7f, 0.05f, 9, 0.95f};
  const std::vector<double> first = WarpedLaw(ToyRow({}, 0), options);
  std::vector<std::vector<float>> drafter_rows, rows;
  std::vector<double> law(kVocabulary * kVocabulary);
  const std::vector<float> row0 = ToyRow({}, 0);
  const std::vector<float> drafter0 = ToyRow({}, 1.0);
  for (int32_t a = 0; a < kVocabulary; ++a) {
    rows.push_back(ToyRow({a}, 0));
    drafter_rows.push_back(ToyRow({a}, 1.0));
    const std::vector<double> second = WarpedLaw(rows.back(), options);
    for (int32_t b = 0; b < kVocabulary; ++b) law[a * kVocabulary + b] = first[a] * second[b];
  }
  std::vector<int64_t> counts(law.size());
  int both = 0;
  for (uint32_t i = 0; i < 1000000; ++i) {
    const NoiseKey keys[] = {{50, i, 0}, {50, i, 1}};
    const int32_t a = SampleToken(drafter0, options, keys[0]).id;
    const int32_t drafted[] = {a};
    const auto verified = VerifyDraft(
        drafted,
        [&](int place) -> absl::StatusOr<absl::Span<const float>> {
          return absl::MakeConstSpan(place == 0 ? row0 : rows[a]);
        },
        options, keys);
    int32_t tokens[2] = {verified->tokens[0].id, -1};
    both += verified->accepted;
    tokens[1] = verified->accepted == 1 ? verified->tokens[1].id
                                        : SampleToken(rows[tokens[0]], options, keys[1]).id;
    ++counts[tokens[0] * kVocabulary + tokens[1]];
  }
  const ChiSquare fit = CompareWithLaw(counts, law);
  EXPECT_LT(fit.statistic, fit.limit);
  EXPECT_FALSE(fit.impossible_seen);
  EXPECT_GT(both, 100000);
  EXPECT_LT(both, 990000);
}

TEST(DraftVerifierTest, RefusesBadInputAndPassesFailuresOn) {
  const std::vector<float> row = {0, 1};
  const std::vector<NoiseKey> keys(2);
  const auto code = [&](std::vector<int32_t> drafted, const SamplingOptions& options,
                        absl::Span<const NoiseKey> noise, absl::StatusCode row_code) {
    return VerifyDraft(
               drafted,
               [&](int) -> absl::StatusOr<absl::Span<const float>> {
                 if (row_code != absl::StatusCode::kOk) return absl::Status(row_code, "row");
                 return absl::MakeConstSpan(row);
               },
               options, noise)
        .status()
        .code();
  };
  const auto ok = absl::StatusCode::kOk;
  const auto bad = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code({1}, {}, keys, ok), ok);
  EXPECT_EQ(code({1, 1}, {}, keys, ok), bad);
  EXPECT_EQ(code({2}, {}, keys, ok), bad);
  EXPECT_EQ(code({-1}, {}, keys, ok), bad);
  EXPECT_EQ(code({1}, {-1, 0, 0, 1}, keys, ok), bad);
  EXPECT_EQ(code({1}, {}, keys, absl::StatusCode::kUnavailable), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace unlearn
