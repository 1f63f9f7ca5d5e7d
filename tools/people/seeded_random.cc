#include "tools/people/seeded_random.h"

namespace unlearn {
namespace {

uint64_t SplitMix64(uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t RotateLeft(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

// FNV-1a.
uint64_t HashOf(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3u;
  return hash;
}

}  // namespace

SeededRandom::SeededRandom(uint64_t seed, absl::string_view stream) {
  // The seed goes through SplitMix64 once, so that seed and stream hash do not cancel out.
  uint64_t mixed = SplitMix64(seed) ^ HashOf(stream);
  for (uint64_t& word : state_) word = SplitMix64(mixed);
}

uint64_t SeededRandom::Next() {
  const uint64_t result = RotateLeft(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = RotateLeft(state_[3], 45);
  return result;
}

uint64_t SeededRandom::Below(uint64_t bound) {
  // The lowest (2^64 mod bound) numbers are thrown away: the rest is a whole multiple of bound.
  const uint64_t threshold = (0 - bound) % bound;
  uint64_t number = Next();
  while (number < threshold) number = Next();
  return number % bound;
}

}  // namespace unlearn
