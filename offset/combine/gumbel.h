#ifndef OFFSET_COMBINE_GUMBEL_H_
#define OFFSET_COMBINE_GUMBEL_H_

#include <cstdint>

namespace unlearn {

// Which draw of which request the noise belongs to. The same key gives the same noise, whatever
// shares the batch and however the token is reached (lockstep, draft and verify).
struct NoiseKey {
  uint64_t seed = 0;
  uint32_t sample = 0;    // of several completions to one prompt
  uint32_t position = 0;  // of the token in prompt and completion together
};

// Tokens whose noise hangs together: ids [64 b, 64 b + 64) are block b.
constexpr int32_t kNoiseBlock = 64;

// What a Philox counter is for: its last word, so that the two streams never meet.
constexpr uint32_t kNoiseTokenStream = 0;
constexpr uint32_t kNoiseBlockStream = 1;

// A block's largest noise, known without the noise of any of its tokens.
//
// exp(-g) of standard Gumbel noise g is a standard exponential, an "arrival". The first arrival of
// 64 is exponential with rate 64 and belongs to each of them with equal chance; the others, being
// memoryless, come later by independent standard exponentials. So what is drawn here, block first
// and tokens after, has exactly the law of independent noise (the top-down construction of Maddison
// et al., "A* Sampling", 2014).
struct BlockNoise {
  double first_arrival = 0;
  int32_t first_token = 0;  // whose it is, 0 to 63 within the block

  double Highest() const;  // -log(first_arrival), Gumbel around log 64
};
BlockNoise NoiseOfBlock(const NoiseKey& key, uint32_t block);

// Standard Gumbel noise of one token id. argmax over tokens of z/T + noise is distributed as
// softmax(z/T). In double: the ties and the rounding of fp32 would bend the law by about 1e-6.
double GumbelNoise(const NoiseKey& key, int32_t token);

// The same, where the block's noise is at hand. Never above block.Highest().
double GumbelNoise(const NoiseKey& key, const BlockNoise& block, int32_t token);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_GUMBEL_H_
