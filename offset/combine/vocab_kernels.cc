#include "offset/combine/vocab_kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>

// Compiles the part between HWY_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "offset/combine/vocab_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
//
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace unlearn {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that four vectors of any processor fit in a block.
using Floats = hn::CappedTag<float, 16>;
using Ints = hn::Rebind<int32_t, Floats>;
using Vector = hn::Vec<Floats>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// 2^y for y <= 0, to 2e-7 of its value for given y; never below 2^-126, for -inf too. y is split
// into the nearest integer, which becomes the exponent, and a rest in [-1/2, 1/2], for which there
// is a minimax polynomial (relative error 7.5e-8).
HWY_INLINE Vector Exp2(Vector y) {
  const Floats d;
  const Ints di;
  y = hn::Max(y, hn::Set(d, -126.0f));
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits; 127: fp32's bias.
  const Vector shift = hn::Set(d, 0x1.8p23f + 127);
  const Vector shifted = hn::Add(y, shift);
  const Vector f = hn::Sub(y, hn::Sub(shifted, shift));
  Vector p = hn::MulAdd(hn::Set(d, 1.3276476068113773e-3f), f, hn::Set(d, 9.6755416982845649e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 5.5507132585389932e-2f));
  p = hn::MulAdd(p, f, hn::Set(d, 2.4022119714331544e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 6.9314696707818568e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0000000716579667f));
  return hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

// The same in double: 2e-14, and 2^-1022.
template <class D>
HWY_INLINE hn::Vec<D> PreciseExp2(D d, hn::Vec<D> y) {
  const hn::RebindToSigned<D> di;
  y = hn::Max(y, hn::Set(d, -1022.0));
  const auto shift = hn::Set(d, 0x1.8p52 + 1023);
  const auto shifted = hn::Add(y, shift);
  const auto f = hn::Sub(y, hn::Sub(shifted, shift));
  auto p = hn::MulAdd(hn::Set(d, 1.0150386242810863e-7), f, hn::Set(d, 1.3259405242346361e-6));
  p = hn::MulAdd(p, f, hn::Set(d, 1.5252984572186984e-5));
  p = hn::MulAdd(p, f, hn::Set(d, 1.5403434949971606e-4));
  p = hn::MulAdd(p, f, hn::Set(d, 1.3333557618062488e-3));
  p = hn::MulAdd(p, f, hn::Set(d, 9.6181291920643189e-3));
  p = hn::MulAdd(p, f, hn::Set(d, 5.5504108668682967e-2));
  p = hn::MulAdd(p, f, hn::Set(d, 2.4022650695649667e-1));
  p = hn::MulAdd(p, f, hn::Set(d, 6.9314718055987101e-1));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0000000000000127));
  return hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<52>(hn::BitCast(di, shifted))));
}

constexpr double kLog2E = 1.4426950408889634;

// Partial sums in fp32 take this many terms for each lane, which bounds their rounding, and then go
// into a sum in double. What a chunk reads is still in the first-level cache.
constexpr size_t kTermsPerLane = 32;

HWY_INLINE Vector CombineVector(const float* model, const float* delta, Vector scale,
                                hn::Mask<Floats>& bad) {
  const Floats d;
  const Vector m = hn::LoadU(d, model);
  const Vector added = hn::Mul(scale, hn::LoadU(d, delta));
  // Not one fused operation: Combine rounds twice.
  const Vector sum = hn::Add(m, added);
  // A delta that is not finite leaves `added` so, with alpha = 0 too.
  const auto sum_bad = hn::AndNot(hn::Eq(m, hn::Set(d, -kInfinity)), hn::Not(hn::IsFinite(sum)));
  bad = hn::Or(bad, hn::Or(hn::Not(hn::IsFinite(added)), sum_bad));
  return sum;
}

// One block: writes z, returns its maximum.
HWY_INLINE float CombineBlock(const float* HWY_RESTRICT model, const float* HWY_RESTRICT delta,
                              Vector scale, float* HWY_RESTRICT ensemble, hn::Mask<Floats>& bad) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  Vector highest = hn::Set(d, -kInfinity);
  for (size_t i = 0; i < kVocabBlock; i += lanes) {
    const Vector z = CombineVector(model + i, delta + i, scale, bad);
    hn::Store(z, d, ensemble + i);
    highest = hn::Max(highest, z);
  }
  return hn::GetLane(hn::MaxOfLanes(d, highest));
}

// Sum of exp(z - highest) in four vectors of partial sums.
HWY_INLINE float SumOfExp(const float* HWY_RESTRICT values, size_t count, float highest) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const Vector shift = hn::Set(d, highest);
  const Vector factor = hn::Set(d, static_cast<float>(kLog2E));
  Vector sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (size_t i = 0; i < count; i += 4 * lanes) {
    for (size_t part = 0; part < 4; ++part) {
      const Vector z = hn::Load(d, values + i + part * lanes);
      sums[part] = hn::Add(sums[part], Exp2(hn::Mul(hn::Sub(z, shift), factor)));
    }
  }
  return hn::GetLane(
      hn::SumOfLanes(d, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))));
}

CombinedRow CombineRow(const float* HWY_RESTRICT model, const float* HWY_RESTRICT delta,
                       float alpha, size_t vocab, float* HWY_RESTRICT ensemble,
                       float* HWY_RESTRICT block_highest) {
  const Floats d;
  const Vector scale = hn::Set(d, alpha);
  hn::Mask<Floats> bad = hn::Ne(scale, scale);  // false: alpha is finite
  CombinedRow row;
  row.highest = -kInfinity;
  const size_t padded = PaddedVocab(vocab);
  // SumOfExp has four partial sums a lane.
  const size_t chunk = 4 * kTermsPerLane * hn::Lanes(d);
  for (size_t begin = 0; begin < padded; begin += chunk) {
    const size_t end = HWY_MIN(begin + chunk, padded);
    float highest = row.highest;
    for (size_t i = begin; i < end; i += kVocabBlock) {
      float block;
      if (HWY_LIKELY(i + kVocabBlock <= vocab)) {
        block = CombineBlock(model + i, delta + i, scale, ensemble + i, bad);
      } else {
        float model_end[kVocabBlock];
        float delta_end[kVocabBlock] = {};
        std::fill(model_end, model_end + kVocabBlock, -kInfinity);
        std::copy(model + i, model + vocab, model_end);
        std::copy(delta + i, delta + vocab, delta_end);
        block = CombineBlock(model_end, delta_end, scale, ensemble + i, bad);
      }
      block_highest[i / kVocabBlock] = block;
      highest = HWY_MAX(highest, block);
    }
    if (highest == -kInfinity) continue;
    // So far the sum was relative to a lower maximum.
    if (highest > row.highest) row.sum *= std::exp(double{row.highest} - highest);
    row.highest = highest;
    row.sum += SumOfExp(ensemble + begin, end - begin, highest);
  }
  row.finite = hn::AllFalse(d, bad);
  return row;
}

void MassesFrom(const float* HWY_RESTRICT values, size_t padded, float highest, float scale,
                const std::array<float, kThresholds>& thresholds,
                std::array<double, kThresholds>& masses) {
  static_assert(kThresholds == 8, "unrolled by hand");
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const Vector shift = hn::Set(d, highest);
  const Vector factor = hn::Set(d, static_cast<float>(scale * kLog2E));
  masses.fill(0);
  const size_t chunk = kTermsPerLane * lanes;
  for (size_t begin = 0; begin < padded; begin += chunk) {
    const size_t end = HWY_MIN(begin + chunk, padded);
    Vector s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    for (size_t i = begin; i < end; i += lanes) {
      const Vector value = hn::Load(d, values + i);
      const Vector mass = Exp2(hn::Mul(hn::Sub(value, shift), factor));
      const auto add = [&](Vector& sum, int at) HWY_ATTR {
        const Vector threshold = hn::Set(d, thresholds[at]);
        sum = hn::Add(sum, hn::IfThenElseZero(hn::Ge(value, threshold), mass));
      };
      add(s0, 0);
      add(s1, 1);
      add(s2, 2);
      add(s3, 3);
      add(s4, 4);
      add(s5, 5);
      add(s6, 6);
      add(s7, 7);
    }
    const Vector sums[] = {s0, s1, s2, s3, s4, s5, s6, s7};
    for (size_t t = 0; t < kThresholds; ++t) masses[t] += hn::GetLane(hn::SumOfLanes(d, sums[t]));
  }
}

TwoMasses PreciseMassesFrom(const float* HWY_RESTRICT values, size_t padded, float highest,
                            double scale, float first_threshold, float second_threshold) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> narrow;
  const size_t lanes = hn::Lanes(d);
  const auto shift = hn::Set(d, double{highest});
  const auto factor = hn::Set(d, scale * kLog2E);
  const auto first = hn::Set(d, double{first_threshold});
  const auto second = hn::Set(d, double{second_threshold});
  auto first_sum = hn::Zero(d);
  auto second_sum = hn::Zero(d);
  for (size_t i = 0; i < padded; i += lanes) {
    const auto value = hn::PromoteTo(d, hn::Load(narrow, values + i));
    const auto mass = PreciseExp2(d, hn::Mul(hn::Sub(value, shift), factor));
    first_sum = hn::Add(first_sum, hn::IfThenElseZero(hn::Ge(value, first), mass));
    second_sum = hn::Add(second_sum, hn::IfThenElseZero(hn::Ge(value, second), mass));
  }
  return {hn::GetLane(hn::SumOfLanes(d, first_sum)), hn::GetLane(hn::SumOfLanes(d, second_sum))};
}

size_t SelectRange(const float* values, const int32_t* from, size_t padded, float low, float high,
                   float* out, int32_t* positions) {
  size_t count = 0;
#if HWY_CAP_GE512
  const Floats d;
  const Ints di;
  const size_t lanes = hn::Lanes(d);
  const Vector lowest = hn::Set(d, low);
  const Vector limit = hn::Set(d, high);
  const auto step = hn::Set(di, static_cast<int32_t>(lanes));
  auto counted = hn::Iota(di, 0);
  for (size_t i = 0; i < padded; i += lanes) {
    const Vector value = hn::Load(d, values + i);
    const auto position = from != nullptr ? hn::LoadU(di, from + i) : counted;
    const auto inside = hn::And(hn::Ge(value, lowest), hn::Lt(value, limit));
    hn::StoreU(hn::Compress(position, hn::RebindMask(di, inside)), di, positions + count);
    hn::StoreU(hn::Compress(value, inside), d, out + count);
    count += hn::CountTrue(d, inside);
    counted = hn::Add(counted, step);
  }
#else
  // Without an instruction for it, compressing vectors is slower than storing without a branch.
  for (size_t i = 0; i < padded; ++i) {
    const float value = values[i];
    positions[count] = from != nullptr ? from[i] : static_cast<int32_t>(i);
    out[count] = value;
    count += static_cast<size_t>((value >= low) & (value < high));
  }
#endif
  std::fill(out + count, out + PaddedVocab(count), -kInfinity);
  return count;
}

#if HWY_TARGET == HWY_SCALAR

void BoundNoise(const NoiseKey& key, size_t blocks, float* bounds) {
  for (size_t b = 0; b < blocks; ++b) {
    bounds[b] = static_cast<float>(NoiseOfBlock(key, b).Highest()) + kNoiseSlack;
  }
}

#else

// One of Philox's 64-bit lanes holds one of its 32-bit words; what is above those is never read.
HWY_INLINE void PhiloxRound(hn::Vec<hn::CappedTag<uint64_t, 8>> (&c)[4], uint32_t key0,
                            uint32_t key1) {
  const hn::CappedTag<uint64_t, 8> d;
  const hn::Repartition<uint32_t, decltype(d)> half;
  const auto multiply = [&](auto word, uint32_t factor) HWY_ATTR {
    return hn::MulEven(hn::BitCast(half, word), hn::Set(half, factor));
  };
  const auto first = multiply(c[0], 0xD2511F53);
  const auto second = multiply(c[2], 0xCD9E8D57);
  c[0] = hn::Xor(hn::Xor(hn::ShiftRight<32>(second), c[1]), hn::Set(d, uint64_t{key0}));
  c[1] = second;
  c[2] = hn::Xor(hn::Xor(hn::ShiftRight<32>(first), c[3]), hn::Set(d, uint64_t{key1}));
  c[3] = first;
}

void BoundNoise(const NoiseKey& key, size_t blocks, float* HWY_RESTRICT bounds) {
  const hn::CappedTag<uint64_t, 8> d;
  const hn::Repartition<uint32_t, decltype(d)> words;
  const hn::RebindToSigned<decltype(words)> ints;
  const hn::RebindToFloat<decltype(ints)> floats;
  const size_t lanes = hn::Lanes(d);
  for (size_t b = 0; b < blocks; b += 2 * lanes) {
    hn::Vec<decltype(d)> low[4];
    hn::Vec<decltype(d)> high[4];
    low[0] = hn::Iota(d, b);
    high[0] = hn::Iota(d, b + lanes);
    low[1] = high[1] = hn::Set(d, uint64_t{key.position});
    low[2] = high[2] = hn::Set(d, uint64_t{key.sample});
    low[3] = high[3] = hn::Set(d, uint64_t{kNoiseBlockStream});
    uint32_t key0 = static_cast<uint32_t>(key.seed);
    uint32_t key1 = static_cast<uint32_t>(key.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      PhiloxRound(low, key0, key1);
      PhiloxRound(high, key0, key1);
      key0 += 0x9E3779B9;
      key1 += 0xBB67AE85;
    }
    // The first 24 of the 52 bits, rounded up: the uniform number is below, the arrival after, and
    // so the noise below. Exact in fp32, so that its logarithm is good near 1 too.
    const auto bits =
        hn::ConcatEven(words, hn::BitCast(words, high[0]), hn::BitCast(words, low[0]));
    const auto cell = hn::BitCast(ints, hn::ShiftRight<8>(bits));
    const auto uniform =
        hn::Mul(hn::ConvertTo(floats, hn::Add(cell, hn::Set(ints, 1))), hn::Set(floats, 0x1p-24f));
    const auto arrival = hn::Neg(hn::Log(floats, uniform));
    // log 64, and more than what two logarithms of 4 units in the last place are off by.
    const auto bound =
        hn::Sub(hn::Set(floats, 4.158883083f + kNoiseSlack), hn::Log(floats, arrival));
    const auto certain = hn::Lt(uniform, hn::Set(floats, 1.0f));
    hn::StoreU(hn::IfThenElse(certain, bound, hn::Set(floats, kInfinity)), floats, bounds + b);
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace unlearn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace unlearn {

HWY_EXPORT(CombineRow);
HWY_EXPORT(MassesFrom);
HWY_EXPORT(PreciseMassesFrom);
HWY_EXPORT(SelectRange);
HWY_EXPORT(BoundNoise);

CombinedRow CombineRow(const float* model, const float* delta, float alpha, size_t vocab,
                       float* ensemble, float* block_highest) {
  return HWY_DYNAMIC_DISPATCH(CombineRow)(model, delta, alpha, vocab, ensemble, block_highest);
}

void MassesFrom(const float* values, size_t padded, float highest, float scale,
                const std::array<float, kThresholds>& thresholds,
                std::array<double, kThresholds>& masses) {
  HWY_DYNAMIC_DISPATCH(MassesFrom)(values, padded, highest, scale, thresholds, masses);
}

TwoMasses PreciseMassesFrom(const float* values, size_t padded, float highest, double scale,
                            float first_threshold, float second_threshold) {
  return HWY_DYNAMIC_DISPATCH(PreciseMassesFrom)(values, padded, highest, scale, first_threshold,
                                                 second_threshold);
}

size_t SelectRange(const float* values, const int32_t* from, size_t padded, float low, float high,
                   float* out, int32_t* positions) {
  return HWY_DYNAMIC_DISPATCH(SelectRange)(values, from, padded, low, high, out, positions);
}

void BoundNoise(const NoiseKey& key, size_t blocks, float* bounds) {
  HWY_DYNAMIC_DISPATCH(BoundNoise)(key, blocks, bounds);
}

}  // namespace unlearn
#endif  // HWY_ONCE
