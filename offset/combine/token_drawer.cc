#include "offset/combine/token_drawer.h"

#include <algorithm>
#include <cmath>

#include "offset/combine/combiner.h"

namespace unlearn {
namespace {

// Fewer blocks than this have their noise computed one by one, more of them by vectors.
constexpr size_t kFewBlocks = 96;

}  // namespace

TokenDrawer::TokenDrawer(size_t vocab)
    : ensemble_(hwy::AllocateAligned<float>(PaddedVocab(vocab))),
      block_highest_(hwy::AllocateAligned<float>(PaddedVocab(BlocksOf(vocab)))),
      // One more: where the next block is tried.
      bounds_(BlocksOf(vocab) + 1),
      noise_(PaddedVocab(BlocksOf(vocab))) {
  row_.logits = ensemble_.get();
  row_.block_highest = block_highest_.get();
  row_.vocab = vocab;
  std::fill(block_highest_.get() + BlocksOf(vocab),
            block_highest_.get() + PaddedVocab(BlocksOf(vocab)), -INFINITY);
}

absl::Status TokenDrawer::Combine(absl::Span<const float> model, absl::Span<const float> delta,
                                  double alpha) {
  const float scale = static_cast<float>(alpha);
  if (model.size() == row_.vocab && delta.size() == row_.vocab && std::isfinite(scale)) {
    const CombinedRow combined = CombineRow(model.data(), delta.data(), scale, row_.vocab,
                                            ensemble_.get(), block_highest_.get());
    if (combined.finite && combined.highest > -INFINITY) {
      row_.highest = combined.highest;
      log_sum_ = combined.highest + std::log(combined.sum);
      return absl::OkStatus();
    }
  }
  // Something is wrong with the row; the reference says what.
  const absl::Status status =
      unlearn::Combine(model, delta, alpha, absl::MakeSpan(ensemble_.get(), row_.vocab));
  return status.ok() ? absl::InternalError("the vector combiner refuses a row that is in order")
                     : status;
}

SampledToken TokenDrawer::Draw(const SamplingOptions& options, const NoiseKey& key) {
  SampledToken token;
  token.id = options.temperature == 0 ? MostLikely() : DrawWithNoise(options, key);
  token.logprob = Logprob(token.id);
  return token;
}

float TokenDrawer::Logprob(int32_t token) const {
  return static_cast<float>(ensemble_[token] - log_sum_);
}

int32_t TokenDrawer::MostLikely() const {
  const absl::Span<const float> blocks = row_.BlockHighest();
  const auto block = std::find(blocks.begin(), blocks.end(), row_.highest);
  const float* from = ensemble_.get() + (block - blocks.begin()) * kVocabBlock;
  return static_cast<int32_t>(std::find(from, from + kVocabBlock, row_.highest) - ensemble_.get());
}

int32_t TokenDrawer::DrawWithNoise(const SamplingOptions& options, const NoiseKey& key) {
  const LastKept last = kept_set_.Find(row_, options);
  const double inverse = 1.0 / options.temperature;
  size_t count = 0;
  for (uint32_t b = 0; b < BlocksOf(row_.vocab); ++b) {
    BlockBound& to = bounds_[count];
    to.bound = TemperedLogit(block_highest_[b], row_.highest, inverse);
    to.block = b;
    count += block_highest_[b] >= last.logit;
  }
  const absl::Span<BlockBound> bounds = absl::MakeSpan(bounds_).subspan(0, count);
  if (count < kFewBlocks) {
    for (BlockBound& b : bounds) b.bound += NoiseOfBlock(key, b.block).Highest();
  } else {
    BoundNoise(key, BlocksOf(row_.vocab), noise_.data());
    for (BlockBound& b : bounds) b.bound += noise_[b.block];
  }
  return SearchNoise(key, static_cast<int32_t>(row_.vocab), bounds,
                     [&](int32_t id) {
                       return last.Keeps(ensemble_[id], id)
                                  ? TemperedLogit(ensemble_[id], row_.highest, inverse)
                                  : -INFINITY;
                     })
      .id;
}

}  // namespace unlearn
