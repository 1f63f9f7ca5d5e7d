#include "offset/combine/gumbel.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "offset/combine/philox.h"

namespace unlearn {
namespace {

std::array<uint32_t, 4> Bits(const NoiseKey& key, uint32_t index, uint32_t stream) {
  return Philox({index, key.position, key.sample, stream},
                {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
}

// A standard exponential from 52 bits: -log of the middle of one of 2^52 equal cells of (0, 1),
// which is never 0 nor 1.
double Exponential(uint32_t high, uint32_t low) {
  const uint64_t cell = uint64_t{high} << 20 | low >> 12;
  return -std::log((static_cast<double>(cell) + 0.5) * 0x1p-52);
}

}  // namespace

double BlockNoise::Highest() const { return -std::log(first_arrival); }

BlockNoise NoiseOfBlock(const NoiseKey& key, uint32_t block) {
  const auto bits = Bits(key, block, kNoiseBlockStream);
  return {Exponential(bits[0], bits[1]) / kNoiseBlock, static_cast<int32_t>(bits[2] % kNoiseBlock)};
}

double GumbelNoise(const NoiseKey& key, int32_t token) {
  return GumbelNoise(key, NoiseOfBlock(key, static_cast<uint32_t>(token) / kNoiseBlock), token);
}

double GumbelNoise(const NoiseKey& key, const BlockNoise& block, int32_t token) {
  const double highest = block.Highest();
  if (token % kNoiseBlock == block.first_token) return highest;
  const auto bits = Bits(key, static_cast<uint32_t>(token) / 2, kNoiseTokenStream);
  const int half = token % 2 * 2;
  const double arrival = block.first_arrival + Exponential(bits[half], bits[half + 1]);
  // Rounding may not lift a later arrival above the first.
  return std::min(highest, -std::log(arrival));
}

}  // namespace unlearn
