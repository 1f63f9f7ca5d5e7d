#ifndef OFFSET_COMBINE_GUMBEL_H_
#define OFFSET_COMBINE_GUMBEL_H_

#include <cmath>
#include <cstdint>

#include "offset/combine/philox.h"

namespace unlearn {

// Which draw of which request the noise belongs to. The same key gives the same noise, whatever
// shares the batch and however the token is reached (lockstep, draft and verify).
struct NoiseKey {
  uint64_t seed = 0;
  uint32_t sample = 0;    // of several completions to one prompt
  uint32_t position = 0;  // of the token in prompt and completion together
};

// Standard Gumbel noise -log(-log(u)) of one token id. argmax over tokens of z/T + noise is
// distributed as softmax(z/T).
inline float GumbelNoise(const NoiseKey& key, int32_t token) {
  const auto bits =
      Philox({static_cast<uint32_t>(token) >> 2, key.position, key.sample, 0},
             {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
  // The middle of one of 2^32 equal cells: never 0, never 1.
  const double uniform = (bits[token & 3] + 0.5) * (1.0 / 4294967296.0);
  return static_cast<float>(-std::log(-std::log(uniform)));
}

}  // namespace unlearn

#endif  // OFFSET_COMBINE_GUMBEL_H_
