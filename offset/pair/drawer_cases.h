#ifndef OFFSET_PAIR_DRAWER_CASES_H_
#define OFFSET_PAIR_DRAWER_CASES_H_

#include <ATen/ATen.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "offset/combine/combiner.h"
#include "offset/combine/sampler.h"
#include "offset/pair/ensemble_drawer.h"

// What every EnsembleDrawer must do, held against Combine and SampleToken. For tests only.
namespace unlearn {

struct DrawerUnderTest {
  // Of so many of `vocab` tokens.
  std::function<absl::StatusOr<std::unique_ptr<EnsembleDrawer>>(int64_t tokens, int64_t vocab,
                                                                int slots)>
      make;
  // A copy of deltas where the backend would leave them.
  std::function<at::Tensor(const at::Tensor&)> place;
};

inline std::vector<float> RowOf(const at::Tensor& rows, int64_t row, int64_t size) {
  const float* const from = rows.const_data_ptr<float>() + row * rows.size(1);
  return std::vector<float>(from, from + size);
}

using DrawnTokens = std::vector<absl::StatusOr<SampledToken>>;
inline DrawnTokens DrawAll(EnsembleDrawer& drawer,
                           const std::vector<EnsembleDrawer::Request>& requests) {
  DrawnTokens tokens;
  const absl::Status status =
      drawer.Draw(requests, [&](absl::StatusOr<SampledToken> token) { tokens.push_back(token); });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(tokens.size(), requests.size());
  return tokens;
}

// Rows staged from other threads, several of one answer among them, deltas kept in another order,
// every warp, forced tokens and streams without an adapter: the reference's tokens.
inline void ExpectTheReferencesTokens(const DrawerUnderTest& test) {
  constexpr int64_t kTokens = 2500, kVocab = 2560;
  constexpr int kSlots = 8;
  auto drawer = test.make(kTokens, kVocab, kSlots);
  ASSERT_TRUE(drawer.ok()) << drawer.status();
  int not_greedy = 0;
  for (int round = 0; round < 4; ++round) {
    at::manual_seed(round);
    const at::Tensor model = at::randn({kSlots, kVocab}) * 4;
    at::Tensor delta = at::randn({kSlots, kVocab});
    // Padding, which nobody may look at; a token that M excludes.
    model.narrow(1, kTokens, kVocab - kTokens).fill_(NAN);
    delta.narrow(1, kTokens, kVocab - kTokens).fill_(NAN);
    model.select(1, 17).fill_(-INFINITY);
    const std::vector<int> with_delta = {5, 0, 3, 2, 7}, without = {1, 6};
    for (const int slot : without) delta[slot].zero_();
    std::vector<std::thread> threads;
    for (const int slot : {5, 0, 3, 1}) {
      threads.emplace_back(
          [&, slot] { EXPECT_TRUE((*drawer)->Stage({slot}, RowOf(model, slot, kVocab)).ok()); });
    }
    threads.emplace_back([&] {
      std::vector<float> rows;
      for (const int slot : {7, 6, 2}) {
        const std::vector<float> row = RowOf(model, slot, kVocab);
        rows.insert(rows.end(), row.begin(), row.end());
      }
      EXPECT_TRUE((*drawer)->Stage({7, 6, 2}, std::move(rows)).ok());
    });
    const at::Tensor kept =
        delta.index_select(0, at::tensor(std::vector<int64_t>(with_delta.begin(), with_delta.end()),
                                         at::TensorOptions(at::kLong)));
    ASSERT_TRUE((*drawer)->KeepDeltas(test.place(kept), with_delta).ok());
    ASSERT_TRUE((*drawer)->KeepZeroDeltas(without).ok());
    for (std::thread& thread : threads) thread.join();
    std::vector<EnsembleDrawer::Request> requests(7);
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].slot = i < with_delta.size() ? with_delta[i] : without[i - with_delta.size()];
      requests[i].alpha = 0.5 + static_cast<double>(i);
      requests[i].sampling.temperature = i == 0 ? 0.0f : 2.0f;
      requests[i].key = {static_cast<uint64_t>(round), 2, static_cast<uint32_t>(40 + i)};
    }
    requests[1].sampling.min_p = 0.02f;
    requests[2].sampling.top_p = 0.9f;
    requests[3].sampling.top_k = 5;
    requests[4].forced = 2499 - round;
    // Warps do not matter to a score, nor that M excludes the token.
    requests[5].sampling.top_p = 0.5f;
    requests[5].forced = round % 2 == 0 ? 17 : 1;
    const DrawnTokens drawn = DrawAll(**drawer, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      const EnsembleDrawer::Request& request = requests[i];
      std::vector<float> ensemble(kTokens);
      ASSERT_TRUE(Combine(RowOf(model, request.slot, kTokens), RowOf(delta, request.slot, kTokens),
                          request.alpha, absl::MakeSpan(ensemble))
                      .ok());
      SampledToken expected = SampleToken(ensemble, request.sampling, request.key);
      not_greedy += expected.id != SampleToken(ensemble, SamplingOptions(), request.key).id;
      if (request.forced) {
        expected.id = *request.forced;
        expected.logprob = static_cast<float>(ensemble[expected.id] - LogSumExp(ensemble));
      }
      ASSERT_TRUE(drawn[i].ok()) << drawn[i].status();
      EXPECT_EQ(drawn[i]->id, expected.id) << i;
      if (expected.logprob == -INFINITY) {
        EXPECT_EQ(drawn[i]->logprob, expected.logprob) << i;
      } else {
        EXPECT_NEAR(drawn[i]->logprob, expected.logprob, 2e-5) << i;
      }
    }
  }
  EXPECT_GT(not_greedy, 4);
}

// Each bad row is an error of its own, in Combine's words; so is each wrong request.
inline void ExpectErrorsOfSingleRows(const DrawerUnderTest& test) {
  constexpr int64_t kTokens = 100;
  constexpr int kSlots = 8;
  auto drawer = test.make(kTokens, kTokens, kSlots);
  ASSERT_TRUE(drawer.ok()) << drawer.status();
  const at::Tensor model = at::zeros({kSlots, kTokens});
  const at::Tensor delta = at::zeros({kSlots, kTokens});
  model[0][7] = NAN;
  delta[1][99] = INFINITY;
  model[2][42] = 1;
  model[3].fill_(-INFINITY);
  model[4][1] = INFINITY;
  model[5][3] = 3e38f;
  delta[5][3] = 3e38f;
  std::vector<EnsembleDrawer::Request> requests(kSlots);
  for (int slot = 0; slot < kSlots; ++slot) {
    ASSERT_TRUE((*drawer)->Stage({slot}, RowOf(model, slot, kTokens)).ok());
    requests[slot].slot = slot;
  }
  requests[0].forced = 3;  // a row that is no good scores nothing either
  requests[6].alpha = NAN;
  requests[7].forced = kTokens;
  ASSERT_TRUE((*drawer)->KeepDeltas(test.place(delta), {0, 1, 2, 3, 4, 5, 6, 7}).ok());
  const DrawnTokens drawn = DrawAll(**drawer, requests);
  for (int slot = 0; slot < kSlots; ++slot) {
    SCOPED_TRACE(slot);
    if (slot == 2) {
      ASSERT_TRUE(drawn[slot].ok()) << drawn[slot].status();
      EXPECT_EQ(drawn[slot]->id, 42);
    } else if (slot < 6) {
      std::vector<float> ensemble(kTokens);
      EXPECT_EQ(drawn[slot].status(),
                Combine(RowOf(model, slot, kTokens), RowOf(delta, slot, kTokens), 1,
                        absl::MakeSpan(ensemble)));
      EXPECT_EQ(drawn[slot].status().code(), absl::StatusCode::kFailedPrecondition);
    } else {
      EXPECT_EQ(drawn[slot].status().code(), absl::StatusCode::kInvalidArgument);
    }
  }
}

// Whoever was to draw from a slot went away: the next one fills it anew.
inline void ExpectTheLastRowCounts(const DrawerUnderTest& test) {
  constexpr int64_t kTokens = 70;
  auto drawer = test.make(kTokens, kTokens, 2);
  ASSERT_TRUE(drawer.ok()) << drawer.status();
  for (const int best : {3, 69}) {
    at::Tensor delta = at::zeros({1, kTokens});
    delta[0][best] = 2;
    std::vector<float> row(kTokens);
    row[best - 1] = 1;
    ASSERT_TRUE((*drawer)->Stage({1}, row).ok());
    ASSERT_TRUE((*drawer)->KeepDeltas(test.place(delta), {1}).ok());
  }
  EnsembleDrawer::Request request;
  request.slot = 1;
  DrawnTokens drawn = DrawAll(**drawer, {request});
  ASSERT_TRUE(drawn[0].ok()) << drawn[0].status();
  EXPECT_EQ(drawn[0]->id, 69);
  // A stream without an adapter after one with.
  std::vector<float> row(kTokens);
  row[68] = 1;
  ASSERT_TRUE((*drawer)->Stage({1}, row).ok());
  ASSERT_TRUE((*drawer)->KeepZeroDeltas({1}).ok());
  drawn = DrawAll(**drawer, {request});
  ASSERT_TRUE(drawn[0].ok()) << drawn[0].status();
  EXPECT_EQ(drawn[0]->id, 68);
}

// A draft is drawn from the reference's row in M's place; then M's row comes, and delta is still
// there.
inline void ExpectADraftKeepsTheDelta(const DrawerUnderTest& test) {
  constexpr int64_t kTokens = 90, kVocab = 96;
  auto drawer = test.make(kTokens, kVocab, 3);
  ASSERT_TRUE(drawer.ok()) << drawer.status();
  int stand = 0;
  for (int round = 0; round < 20; ++round) {
    at::manual_seed(round);
    const at::Tensor reference = at::randn({2, kVocab}) * 3;
    const at::Tensor model = reference + at::randn({2, kVocab});
    const at::Tensor delta = at::randn({2, kVocab}) * 2;
    const std::vector<int> slots = {2, 0};
    ASSERT_TRUE((*drawer)->KeepReferences(test.place(reference), slots).ok());
    ASSERT_TRUE((*drawer)->KeepDeltas(test.place(delta), slots).ok());
    std::vector<EnsembleDrawer::Request> requests(2);
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].slot = slots[i];
      requests[i].alpha = 1.5;
      requests[i].sampling.temperature = i == 0 ? 0.0f : 1.0f;
      if (round % 2 == 1) requests[i].sampling.top_p = 0.8f;
      requests[i].key = {static_cast<uint64_t>(round), 0, static_cast<uint32_t>(i)};
      requests[i].draft = true;
    }
    const auto expect = [&](const at::Tensor& rows, const DrawnTokens& drawn) {
      for (int64_t i = 0; i < 2; ++i) {
        std::vector<float> ensemble(kTokens);
        ASSERT_TRUE(Combine(RowOf(rows, i, kTokens), RowOf(delta, i, kTokens), 1.5,
                            absl::MakeSpan(ensemble))
                        .ok());
        ASSERT_TRUE(drawn[i].ok()) << drawn[i].status();
        EXPECT_EQ(drawn[i]->id, SampleToken(ensemble, requests[i].sampling, requests[i].key).id);
      }
    };
    const DrawnTokens drafts = DrawAll(**drawer, requests);
    expect(reference, drafts);
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].draft = false;
      ASSERT_TRUE((*drawer)->Stage({slots[i]}, RowOf(model, static_cast<int64_t>(i), kVocab)).ok());
    }
    const DrawnTokens drawn = DrawAll(**drawer, requests);
    expect(model, drawn);
    stand += drafts[0]->id == drawn[0]->id;
  }
  EXPECT_GT(stand, 0);
  EXPECT_LT(stand, 20);
}

inline void ExpectRefusals(const DrawerUnderTest& test) {
  EXPECT_FALSE(test.make(10, 9, 1).ok());
  EXPECT_FALSE(test.make(10, 10, 0).ok());
  auto drawer = test.make(10, 12, 2);
  ASSERT_TRUE(drawer.ok()) << drawer.status();
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ((*drawer)->Stage({0}, std::vector<float>(9)).code(), invalid);
  EXPECT_EQ((*drawer)->Stage({0, 1}, std::vector<float>(21)).code(), invalid);
  EXPECT_EQ((*drawer)->Stage({}, std::vector<float>(10)).code(), invalid);
  EXPECT_EQ((*drawer)->Stage({2}, std::vector<float>(10)).code(), invalid);
  EXPECT_EQ((*drawer)->Stage({-1}, std::vector<float>(10)).code(), invalid);
  EXPECT_EQ((*drawer)->KeepZeroDeltas({2}).code(), invalid);
  EXPECT_EQ((*drawer)->KeepDeltas(test.place(at::zeros({1, 12})), {0, 1}).code(), invalid);
  EXPECT_EQ((*drawer)->KeepDeltas(test.place(at::zeros({2, 10})), {0, 1}).code(), invalid);
  EnsembleDrawer::Request request;
  request.slot = -1;
  EXPECT_EQ(DrawAll(**drawer, {request})[0].status().code(), invalid);
}

}  // namespace unlearn

#endif  // OFFSET_PAIR_DRAWER_CASES_H_
