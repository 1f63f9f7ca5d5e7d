#include "offset/combine/noise_search.h"

#include "offset/combine/vocab_kernels.h"

namespace unlearn {

NoiseWinner MaxNoiseOutside(const NoiseKey& key, int32_t vocab,
                            absl::Span<const int32_t> excluded) {
  const size_t blocks = BlocksOf(vocab);
  std::vector<float> noise(PaddedVocab(blocks));
  BoundNoise(key, blocks, noise.data());
  std::vector<BlockBound> bounds(blocks);
  for (size_t b = 0; b < blocks; ++b) bounds[b] = {noise[b], static_cast<uint32_t>(b)};
  return SearchNoise(key, vocab, absl::MakeSpan(bounds), [&](int32_t id) {
    return std::binary_search(excluded.begin(), excluded.end(), id) ? -INFINITY : 0.0;
  });
}

}  // namespace unlearn
