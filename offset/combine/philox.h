#ifndef OFFSET_COMBINE_PHILOX_H_
#define OFFSET_COMBINE_PHILOX_H_

#include <array>
#include <cstdint>

namespace unlearn {

// Philox4x32-10 (Salmon et al., 2011): 128 random bits as a pure function of a counter and a key.
// No state, so that noise can be recomputed for any token of any position in any order.
inline std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
                                      std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * counter[0];
    const uint64_t second = uint64_t{0xCD9E8D57} * counter[2];
    counter = {
        static_cast<uint32_t>(second >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(second),
        static_cast<uint32_t>(first >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(first)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

}  // namespace unlearn

#endif  // OFFSET_COMBINE_PHILOX_H_
