#ifndef OFFSET_COMBINE_VOCAB_KERNELS_H_
#define OFFSET_COMBINE_VOCAB_KERNELS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "hwy/aligned_allocator.h"
#include "offset/combine/gumbel.h"

namespace unlearn {

// Passes over a whole vocabulary with the processor's widest vectors, chosen at run time (Highway).
// What callers decide with them is checked against the scalar reference (combiner.h, sampler.h).

// What they write and read again begins at a multiple of 64 bytes and has whole blocks of as many
// values, the rest of the last one -inf.
using AlignedFloats = hwy::AlignedFreeUniquePtr<float[]>;
constexpr size_t kVocabBlock = kNoiseBlock;
constexpr size_t BlocksOf(size_t vocab) { return (vocab + kVocabBlock - 1) / kVocabBlock; }
constexpr size_t PaddedVocab(size_t vocab) { return BlocksOf(vocab) * kVocabBlock; }

struct CombinedRow {
  bool finite = false;  // no value that Combine refuses; else nothing below means anything
  float highest = 0;    // -inf: all are
  double sum = 0;       // of exp(z - highest)
};

// z = model + alpha * delta, bit for bit as Combine, with the maximum of each block and the sum of
// exponentials. model, delta: [vocab]; ensemble: [PaddedVocab(vocab)], written; block_highest:
// [BlocksOf(vocab)], written. The relative error of the sum is below kMassError.
CombinedRow CombineRow(const float* model, const float* delta, float alpha, size_t vocab,
                       float* ensemble, float* block_highest);

// Bound on the error of sums of exp(x), x <= 0, in fp32, as a share of the sum over all tokens:
// - x is rounded three times, which moves exp(x) by |x| 3 2^-24 of its value. Under a softmax over
// V
//   tokens the mean of |x| is the entropy less log(sum), so at most log V: 2.5e-6 for a million.
// - the exponential itself and its product: 3e-7.
// - partial sums of 32 terms, then of the lanes, then in double: 2.2e-6.
constexpr double kMassError = 5e-6;

// masses[i] = sum over values >= thresholds[i] of exp((value - highest) * scale), right to
// kMassError of the mass of all values. Thresholds above -inf, scale finite.
constexpr size_t kThresholds = 8;
void MassesFrom(const float* values, size_t padded, float highest, float scale,
                const std::array<float, kThresholds>& thresholds,
                std::array<double, kThresholds>& masses);

// The same in double for two thresholds.
struct TwoMasses {
  double first = 0;
  double second = 0;
};
TwoMasses PreciseMassesFrom(const float* values, size_t padded, float highest, double scale,
                            float first_threshold, float second_threshold);
// Bound on how far two sums of `count` exponentials in double lie apart, as a share of their value,
// whatever the order of adding and with 2e-14 in each exponential.
constexpr double PreciseMassError(size_t count) { return (count + 512) * 0x1p-52; }

// Copies the values in [low, high) and their positions, in order; `out` and `positions` have room
// for `padded` and one block more. Positions come from `from`, or are 0, 1, 2, ... if that is null;
// `from` may be `positions` and `values` may be `out`. Ends with a padded block; returns the count.
size_t SelectRange(const float* values, const int32_t* from, size_t padded, float low, float high,
                   float* out, int32_t* positions);

// bounds[b] >= NoiseOfBlock(key, b).Highest() for b < blocks, by little: 2e-4 but for rare large
// noise. `bounds` has room for PaddedVocab(blocks).
constexpr float kNoiseSlack = 1e-4f;
void BoundNoise(const NoiseKey& key, size_t blocks, float* bounds);

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VOCAB_KERNELS_H_
