#include "offset/pair/selective_head.h"

#include <ATen/ATen.h>

#include <cmath>
#include <random>

#include "offset/model/decoder_vectors.h"
#include "offset/pair/pair_engine.h"

namespace unlearn {
namespace {

std::shared_ptr<const Decoder> RandomBase(int64_t vocab, int64_t hidden, uint64_t seed) {
  ModelConfig config;
  config.vocab_size = vocab;
  config.hidden_size = hidden;
  config.intermediate_size = 8;
  config.num_layers = 1;
  config.num_heads = config.num_kv_heads = 1;
  config.head_dim = 8;
  config.max_positions = 16;
  return Decoder::Init(config, seed);
}

std::vector<float> Random(int64_t size, double scale, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, static_cast<float>(scale));
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

// (W_v - mean W) · d in double.
std::vector<double> Exact(const Decoder& base, int64_t tokens, const std::vector<float>& d) {
  const at::Tensor head = base.head().narrow(0, 0, tokens).to(at::kDouble);
  const at::Tensor difference =
      at::from_blob(const_cast<float*>(d.data()), {static_cast<int64_t>(d.size())}, at::kFloat)
          .to(at::kDouble);
  const at::Tensor delta = at::matmul(head - head.mean(0), difference).contiguous();
  return std::vector<double>(delta.data_ptr<double>(), delta.data_ptr<double>() + tokens);
}

TEST(SelectiveHeadTest, RowsAndFullAreExactUpToTheRoundingError) {
  const auto base = RandomBase(301, 70, 1);
  const auto head = SelectiveHead::Make(base, 290);
  ASSERT_TRUE(head.ok()) << head.status();
  const std::vector<int32_t> ids = {289, 0, 17, 17, 288};
  for (const double scale : {0.0, 1e-4, 1.0, 100.0}) {
    const std::vector<float> d = Random(70, scale, 2);
    const std::vector<double> exact = Exact(*base, 290, d);
    const auto rows = head->Rows(d, ids);
    ASSERT_TRUE(rows.ok()) << rows.status();
    const std::vector<float> full = head->Full(d);
    const float error = head->RoundingError(d);
    EXPECT_LE(error, 1e-4 * scale + 1e-30);
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_NEAR((*rows)[i], exact[ids[i]], error);
      EXPECT_EQ((*rows)[i], full[ids[i]]);
    }
  }
}

// The bound against 1,000 random differences and against the worst there are: those that point
// along a row.
TEST(SelectiveHeadTest, TheBoundHoldsAndIsReached) {
  const auto base = RandomBase(120, 24, 3);
  const auto head = SelectiveHead::Make(base, 120);
  ASSERT_TRUE(head.ok()) << head.status();
  const at::Tensor centred = base->head() - base->head().mean(0);
  double tightest = 0;
  for (uint32_t trial = 0; trial < 1120; ++trial) {
    std::vector<float> d = Random(24, std::pow(10.0, trial % 7 - 3.0), trial);
    if (trial < 120) {
      const float* row = centred[trial].data_ptr<float>();
      d.assign(row, row + 24);
    }
    const std::vector<double> exact = Exact(*base, 120, d);
    const float bound = head->Bound(d);
    for (int32_t id = 0; id < 120; ++id) {
      EXPECT_LE(std::abs(exact[id]), head->BoundOf(d, id));
      EXPECT_LE(head->BoundOf(d, id), bound);
      tightest = std::max(tightest, std::abs(exact[id]) / bound);
    }
  }
  EXPECT_GT(tightest, 0.999);
}

TEST(SelectiveHeadTest, GivesThePairsDeltaUpToACommonShift) {
  const DecoderVectors vectors("grouped_new");
  const LoraAdapter adapter = vectors.Adapter();
  const LoraAdapter* const adapters[] = {&adapter};
  const auto stack =
      std::make_shared<const LoraStack>(FuseAdapters(vectors.decoder->config(), adapters));
  PairEngine pair(vectors.decoder, 512);
  const std::vector<int32_t> tokens = vectors.Sequence(0);
  const int whole = pair.AddStream(stack);
  const int selective = pair.AddStream(stack);
  const int none = pair.AddStream(std::make_shared<const LoraStack>());
  const auto delta = pair.Step({{whole, 0, tokens, 3}});
  const auto difference = pair.StepDifferences({{none, 0, tokens, 1}, {selective, 0, tokens, 3}});
  ASSERT_TRUE(delta.ok() && difference.ok());
  ASSERT_EQ(difference->size(0), 4);
  EXPECT_EQ(difference->narrow(0, 0, 1).abs().max().item<float>(), 0);
  const auto head = SelectiveHead::Make(vectors.decoder, 64);
  ASSERT_TRUE(head.ok());
  for (int64_t row = 0; row < 3; ++row) {
    const float* d = (*difference)[row + 1].data_ptr<float>();
    const std::vector<float> centred = head->Full(absl::MakeConstSpan(d, difference->size(1)));
    const at::Tensor of_pair = (*delta)[row] - (*delta)[row].mean();
    for (int64_t id = 0; id < 64; ++id) {
      EXPECT_NEAR(centred[id], of_pair[id].item<float>(), 1e-5);
    }
  }
}

TEST(SelectiveHeadTest, ConditionsAreChecked) {
  const auto base = RandomBase(20, 8, 5);
  EXPECT_EQ(SelectiveHead::Make(base, 21).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SelectiveHead::Make(base, 0).status().code(), absl::StatusCode::kInvalidArgument);
  const auto head = SelectiveHead::Make(base, 20);
  ASSERT_TRUE(head.ok());
  const std::vector<float> d(8, 1.0f);
  EXPECT_EQ(head->Rows(d, {3, 20}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(head->Rows(d, {-1}).status().code(), absl::StatusCode::kInvalidArgument);
  base->head()[7][3].fill_(INFINITY);
  EXPECT_EQ(SelectiveHead::Make(base, 20).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(SelectiveHead::Make(base, 7).ok());  // padding may be what it will
}

}  // namespace
}  // namespace unlearn
