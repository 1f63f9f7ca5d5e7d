#ifndef OFFSET_COMBINE_NOISE_SEARCH_H_
#define OFFSET_COMBINE_NOISE_SEARCH_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "offset/combine/gumbel.h"

namespace unlearn {

// A block of tokens, and a bound that no token's score in it exceeds.
struct BlockBound {
  double bound = 0;
  uint32_t block = 0;
};

struct NoiseWinner {
  int32_t id = -1;  // -1: no token takes part
  double score = -INFINITY;
};

// The token with the highest score(id) + GumbelNoise(key, id), ties to the lower id, over the
// blocks given; score(id) is -inf for those that take no part. Blocks are opened from the most
// promising on until none can win; of an opened block, only tokens that still can have their noise
// computed. Where a bound is the block's highest score plus its highest noise, that is about 64
// tokens whatever the scores are. Reorders `blocks`.
template <class Score>
NoiseWinner SearchNoise(const NoiseKey& key, int32_t vocab, absl::Span<BlockBound> blocks,
                        const Score& score) {
  NoiseWinner best;
  const auto open = [&](uint32_t block) {
    const BlockNoise noise = NoiseOfBlock(key, block);
    const double highest_noise = noise.Highest();
    const int32_t begin = static_cast<int32_t>(block) * kNoiseBlock;
    const int32_t end = std::min(begin + kNoiseBlock, vocab);
    for (int32_t id = begin; id < end; ++id) {
      const double without = score(id);
      // Rounding is monotone, so that this never loses a token that ties.
      if (without == -INFINITY || without + highest_noise < best.score) continue;
      const double with = without + GumbelNoise(key, noise, id);
      if (with > best.score || (with == best.score && id < best.id)) best = {id, with};
    }
  };
  const auto less = [](const BlockBound& a, const BlockBound& b) { return a.bound < b.bound; };
  const auto first = std::max_element(blocks.begin(), blocks.end(), less);
  if (first == blocks.end()) return best;
  open(first->block);
  // What is left after the first is a few dozen of thousands.
  std::swap(*first, blocks.front());
  const auto begin = blocks.begin() + 1;
  auto end = std::remove_if(begin, blocks.end(),
                            [&](const BlockBound& b) { return !(b.bound >= best.score); });
  std::make_heap(begin, end, less);
  while (begin != end && begin->bound >= best.score) {
    open(begin->block);
    std::pop_heap(begin, end--, less);
  }
  return best;
}

// The largest noise of all tokens below `vocab` but `excluded` (rising ids); -inf if none is left.
// With the noise of tokens whose logits are unknown but bounded, this bounds their scores: a token
// that beats it was drawn, whatever the others are.
NoiseWinner MaxNoiseOutside(const NoiseKey& key, int32_t vocab, absl::Span<const int32_t> excluded);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_NOISE_SEARCH_H_
