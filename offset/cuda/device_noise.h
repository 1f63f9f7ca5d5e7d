#ifndef OFFSET_CUDA_DEVICE_NOISE_H_
#define OFFSET_CUDA_DEVICE_NOISE_H_

#include <cmath>
#include <cstdint>

#include "offset/cuda/host_device.h"

namespace unlearn {

// The noise of offset/combine/gumbel.h, for GPUs: the same bits of Philox, the same double
// arithmetic. Only the logarithm may differ, in the last bit of a double: tokens agree but for ties
// closer than that.

// NoiseKey, as kernels get it.
struct DeviceNoiseKey {
  uint64_t seed;
  uint32_t sample;
  uint32_t position;
};

constexpr int32_t kDeviceNoiseBlock = 64;

struct PhiloxBits {
  uint32_t word[4];
};

// `stream`: 0 of tokens, 1 of blocks.
UNLEARN_HOST_DEVICE inline PhiloxBits NoiseBits(const DeviceNoiseKey& key, uint32_t index,
                                                uint32_t stream) {
  uint32_t c0 = index, c1 = key.position, c2 = key.sample, c3 = stream;
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * c0;
    const uint64_t second = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(second >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(second);
    c2 = static_cast<uint32_t>(first >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(first);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return PhiloxBits{{c0, c1, c2, c3}};
}

UNLEARN_HOST_DEVICE inline double NoiseExponential(uint32_t high, uint32_t low) {
  const uint64_t cell = uint64_t{high} << 20 | low >> 12;
  return -log((static_cast<double>(cell) + 0.5) * 0x1p-52);
}

// A block's largest noise and whose it is, 0 to 63.
struct DeviceBlockNoise {
  double first_arrival;
  double highest;
  int32_t first_token;
};
UNLEARN_HOST_DEVICE inline DeviceBlockNoise DeviceNoiseOfBlock(const DeviceNoiseKey& key,
                                                               uint32_t block) {
  const PhiloxBits bits = NoiseBits(key, block, 1);
  DeviceBlockNoise noise;
  noise.first_arrival = NoiseExponential(bits.word[0], bits.word[1]) / kDeviceNoiseBlock;
  noise.highest = -log(noise.first_arrival);
  noise.first_token = static_cast<int32_t>(bits.word[2] % kDeviceNoiseBlock);
  return noise;
}

UNLEARN_HOST_DEVICE inline double DeviceGumbelNoise(const DeviceNoiseKey& key,
                                                    const DeviceBlockNoise& block, int32_t token) {
  if (token % kDeviceNoiseBlock == block.first_token) return block.highest;
  const PhiloxBits bits = NoiseBits(key, static_cast<uint32_t>(token) / 2, 0);
  const int half = token % 2 * 2;
  const double arrival =
      block.first_arrival + NoiseExponential(bits.word[half], bits.word[half + 1]);
  const double noise = -log(arrival);
  return noise < block.highest ? noise : block.highest;
}

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_NOISE_H_
