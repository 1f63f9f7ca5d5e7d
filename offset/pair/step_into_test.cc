#include <ATen/ATen.h>

#include <map>

#include "offset/model/cached_forward.h"
#include "offset/model/decoder_vectors.h"
#include "offset/model/test_stacks.h"
#include "offset/pair/pair_engine.h"

// PairEngine::StepInto: which row of delta comes into which slot.
namespace unlearn {
namespace {

// Keeps what it is given.
class KeepingDrawer : public EnsembleDrawer {
 public:
  absl::Status Stage(absl::Span<const int>, std::vector<float>) override {
    return absl::UnimplementedError("not for this test");
  }
  absl::Status KeepDeltas(const at::Tensor& deltas, absl::Span<const int> slots) override {
    for (size_t i = 0; i < slots.size(); ++i) kept[slots[i]] = deltas[i].clone();
    return result;
  }
  absl::Status KeepReferences(const at::Tensor& references, absl::Span<const int> slots) override {
    for (size_t i = 0; i < slots.size(); ++i) references_kept[slots[i]] = references[i].clone();
    return absl::OkStatus();
  }
  absl::Status KeepZeroDeltas(absl::Span<const int> slots) override {
    for (const int slot : slots) kept[slot] = at::Tensor();
    return absl::OkStatus();
  }
  absl::Status Draw(absl::Span<const Request>, Use) override {
    return absl::UnimplementedError("not for this test");
  }

  std::map<int, at::Tensor> kept;  // not defined: zeros
  std::map<int, at::Tensor> references_kept;
  absl::Status result;
};

class StepIntoTest : public testing::Test {
 protected:
  StepIntoTest() {
    for (const auto& stack : {TestStack(vectors_.decoder->config(), {2}), empty_,
                              TestStack(vectors_.decoder->config(), {1, 3})}) {
      pair_.AddStream(stack);
      same_.AddStream(stack);
    }
  }
  const DecoderVectors vectors_{"grouped_new"};
  const std::shared_ptr<const LoraStack> empty_ = std::make_shared<const LoraStack>();
  const std::vector<int32_t> tokens_ = vectors_.Sequence(0);
  PairEngine pair_{vectors_.decoder, 256};
  PairEngine same_{vectors_.decoder, 256};
  KeepingDrawer drawer_;
};

TEST_F(StepIntoTest, RowsComeIntoTheirSlots) {
  const auto span = absl::MakeConstSpan(tokens_);
  const std::vector<PairStep> steps = {
      {2, 0, span.first(9), 2}, {1, 0, span.first(4), 1}, {0, 0, span.first(7), 3}};
  const std::vector<int> slots = {7, 2, 5, 11, 0, 3};
  ASSERT_TRUE(pair_.StepInto(steps, slots, drawer_).ok());
  const auto expected = same_.Step(steps);
  ASSERT_TRUE(expected.ok()) << expected.status();
  ASSERT_EQ(drawer_.kept.size(), slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    const at::Tensor& kept = drawer_.kept.at(slots[i]);
    EXPECT_EQ(kept.defined(), slots[i] != 5) << i;  // the empty stack's
    EXPECT_TRUE(at::equal(kept.defined() ? kept : at::zeros({64}), (*expected)[i])) << i;
  }
}

TEST_F(StepIntoTest, WhatIsNotWantedOrDoesNotRunComesNowhere) {
  const auto span = absl::MakeConstSpan(tokens_);
  ASSERT_TRUE(pair_.StepInto({{0, 0, span.first(9), 0}}, {}, drawer_).ok());
  EXPECT_TRUE(drawer_.kept.empty());
  // Only streams without an adapter.
  ASSERT_TRUE(pair_.StepInto({{1, 0, span.first(9), 1}}, {4}, drawer_).ok());
  ASSERT_EQ(drawer_.kept.size(), 1u);
  EXPECT_FALSE(drawer_.kept.at(4).defined());
}

// The reference's own logits come beside delta, of the steps that draft only.
TEST_F(StepIntoTest, DraftsGetTheReferencesRows) {
  const auto span = absl::MakeConstSpan(tokens_);
  std::vector<PairStep> steps = {
      {2, 0, span.first(9), 2}, {1, 0, span.first(4), 1}, {0, 0, span.first(7), 1}};
  steps[0].draft = true;
  ASSERT_TRUE(pair_.StepInto(steps, {7, 2, 5, 11}, drawer_).ok());
  const auto expected = same_.Step(steps);
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_TRUE(at::equal(drawer_.kept.at(2), (*expected)[1]));
  EXPECT_TRUE(at::equal(drawer_.kept.at(11), (*expected)[3]));
  ASSERT_EQ(drawer_.references_kept.size(), 2u);
  // The base alone.
  KvCache cache(vectors_.decoder->config(), 64);
  TokenBatch batch;
  const int sequence = cache.AddSequence();
  for (int32_t at = 0; at < 9; ++at) batch.Add(tokens_[at], sequence, at);
  const auto hidden = ForwardTokens(*vectors_.decoder, batch, cache);
  ASSERT_TRUE(hidden.ok()) << hidden.status();
  const at::Tensor alone = vectors_.decoder->Logits(*hidden);
  EXPECT_TRUE(at::equal(drawer_.references_kept.at(7), alone[7]));
  EXPECT_TRUE(at::equal(drawer_.references_kept.at(2), alone[8]));
}

TEST_F(StepIntoTest, ARefusedStepFillsNoSlot) {
  const auto span = absl::MakeConstSpan(tokens_);
  const std::vector<int32_t> beyond = {64};
  EXPECT_EQ(pair_.StepInto({{0, 0, beyond, 1}, {1, 0, span.first(1), 1}}, {0, 1}, drawer_).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(pair_.StepInto({{0, 0, span.first(3), 2}}, {0}, drawer_).code(),
            absl::StatusCode::kInternal);
  EXPECT_TRUE(drawer_.kept.empty());
  drawer_.result = absl::ResourceExhaustedError("the drawer is full");
  EXPECT_EQ(pair_.StepInto({{0, 0, span.first(3), 1}}, {0}, drawer_), drawer_.result);
}

TEST_F(StepIntoTest, TheEnginesDrawerDrawsFromTheStep) {
  const auto drawer = pair_.MakeDrawer(64, 2);
  ASSERT_TRUE(drawer.ok()) << drawer.status();
  const std::vector<PairStep> steps = {{0, 0, tokens_, 1}};
  ASSERT_TRUE((*drawer)->Stage({1}, std::vector<float>(64)).ok());
  ASSERT_TRUE(pair_.StepInto(steps, {1}, **drawer).ok());
  const auto delta = same_.Step(steps);
  ASSERT_TRUE(delta.ok()) << delta.status();
  EnsembleDrawer::Request request;
  request.slot = 1;
  int32_t drawn = -1;
  ASSERT_TRUE((*drawer)
                  ->Draw({request},
                         [&](const absl::StatusOr<SampledToken>& token) {
                           ASSERT_TRUE(token.ok()) << token.status();
                           drawn = token->id;
                         })
                  .ok());
  EXPECT_EQ(drawn, (*delta)[0].argmax().item<int64_t>());
}

}  // namespace
}  // namespace unlearn
