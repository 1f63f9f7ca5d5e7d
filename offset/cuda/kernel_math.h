#ifndef OFFSET_CUDA_KERNEL_MATH_H_
#define OFFSET_CUDA_KERNEL_MATH_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#include "offset/cuda/host_device.h"

// What kernels compute for one element, and where it lies: plain functions, tested on the CPU.
namespace unlearn {

// The upper half of a float.
struct Bf16 {
  uint16_t bits;
};

UNLEARN_HOST_DEVICE inline float ToFloat(float value) { return value; }
UNLEARN_HOST_DEVICE inline float ToFloat(Bf16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float result;
  memcpy(&result, &bits, sizeof(result));
  return result;
}

// To the nearest, ties to even; what is not a number stays so.
template <typename T>
UNLEARN_HOST_DEVICE inline T FromFloat(float value);
template <>
UNLEARN_HOST_DEVICE inline float FromFloat<float>(float value) {
  return value;
}
template <>
UNLEARN_HOST_DEVICE inline Bf16 FromFloat<Bf16>(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return Bf16{static_cast<uint16_t>(bits >> 16 | 0x40)};
  return Bf16{static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}

// exp(-x) overflows to infinity where the result is as good as 0.
UNLEARN_HOST_DEVICE inline float Silu(float x) { return x / (1.0f + expf(-x)); }

// GELU in its tanh approximation; 1 + tanh(y) = 2 / (1 + exp(-2y)).
UNLEARN_HOST_DEVICE inline float GeluTanh(float x) {
  constexpr float kScale = 0.7978845608028654f;  // sqrt(2 / pi)
  return x / (1.0f + expf(-2.0f * kScale * (x + 0.044715f * x * x * x)));
}

// GELU itself.
UNLEARN_HOST_DEVICE inline float Gelu(float x) {
  return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
}

// ModelConfig::Activation, for kernels.
enum class DeviceActivation { kSilu, kGelu, kGeluTanh };
UNLEARN_HOST_DEVICE inline float Activate(DeviceActivation activation, float x) {
  return activation == DeviceActivation::kSilu   ? Silu(x)
         : activation == DeviceActivation::kGelu ? Gelu(x)
                                                 : GeluTanh(x);
}

// Positions of one page of keys and values; KvPages::kPageTokens.
constexpr int kDevicePageTokens = 16;

// Where a key (part 0) or value (part 1) lies in a layer's pool: [pages, 2, page tokens, kv_heads,
// head_dim].
UNLEARN_HOST_DEVICE inline int64_t KvOffset(int32_t page, int part, int32_t position, int kv_heads,
                                            int kv_head, int head_dim) {
  const int64_t row =
      (static_cast<int64_t>(page) * 2 + part) * kDevicePageTokens + position % kDevicePageTokens;
  return (row * kv_heads + kv_head) * head_dim;
}

// Positions [begin, end) that one of `splits` blocks attends to: equal parts of what the token
// sees, in whole pages. May be empty.
struct SplitRange {
  int32_t begin;
  int32_t end;
};
UNLEARN_HOST_DEVICE inline SplitRange RangeOfSplit(int32_t position, int32_t window, int32_t splits,
                                                   int32_t split) {
  const int32_t first = window > 0 && position >= window ? position - window + 1 : 0;
  const int32_t first_page = first / kDevicePageTokens;
  const int32_t pages = position / kDevicePageTokens + 1 - first_page;
  const int32_t share = (pages + splits - 1) / splits;
  SplitRange range;
  range.begin = (first_page + split * share) * kDevicePageTokens;
  range.end = range.begin + share * kDevicePageTokens;
  if (range.begin < first) range.begin = first;
  if (range.end > position + 1) range.end = position + 1;
  if (range.begin > range.end) range.begin = range.end;
  return range;
}

// A softmax that is still being summed: highest score, sum of exp(score - highest). The weighted
// values go along with the factors that these return.
struct OnlineSoftmax {
  float highest = -INFINITY;
  float sum = 0;
};

// Takes one score in. What was summed before is to be multiplied by `old_factor`, the new value by
// `new_factor`.
struct MergeFactors {
  float old_factor;
  float new_factor;
};
UNLEARN_HOST_DEVICE inline MergeFactors MergeSoftmax(OnlineSoftmax& into,
                                                     const OnlineSoftmax& other) {
  const float highest = into.highest > other.highest ? into.highest : other.highest;
  MergeFactors factors = {0, 0};
  // Empty sides have -inf, and -inf - -inf is not a number.
  if (into.highest > -INFINITY) factors.old_factor = expf(into.highest - highest);
  if (other.highest > -INFINITY) factors.new_factor = expf(other.highest - highest);
  // A score that is not a number must not vanish.
  if (into.highest != into.highest || other.highest != other.highest) {
    factors.old_factor = factors.new_factor = NAN;
  }
  into.sum = into.sum * factors.old_factor + other.sum * factors.new_factor;
  into.highest = highest;
  return factors;
}
UNLEARN_HOST_DEVICE inline MergeFactors AddScore(OnlineSoftmax& into, float score) {
  OnlineSoftmax one;
  one.highest = score;
  one.sum = 1;
  return MergeSoftmax(into, one);
}

// Where LoRA's B is not zero: rank rows [rank_begin, rank_end) add to outputs [out_begin, out_end).
// The block's part of B is stored by itself, [rank rows, outputs], from element `b_begin` on.
struct DeviceLoraBlock {
  int32_t rank_begin;
  int32_t rank_end;
  int32_t out_begin;
  int32_t out_end;
  int64_t b_begin;
};

UNLEARN_HOST_DEVICE inline bool AddsTo(const DeviceLoraBlock& block, int32_t out) {
  return out >= block.out_begin && out < block.out_end;
}
UNLEARN_HOST_DEVICE inline int64_t LoraIndex(const DeviceLoraBlock& block, int32_t rank,
                                             int32_t out) {
  return block.b_begin +
         static_cast<int64_t>(rank - block.rank_begin) * (block.out_end - block.out_begin) +
         (out - block.out_begin);
}

// The addition of one stack to one linear layer, in the device's memory. rank 0: none.
struct DeviceLora {
  const float* a;  // [rank, in]
  const float* b;
  const DeviceLoraBlock* blocks;
  int32_t block_count;
  int32_t rank;
};

// Rows next to each other under one stack, at most kLoraTileRows. No rows: unused.
constexpr int kLoraTileRows = 8;
struct LoraTile {
  int32_t row_begin;
  int32_t row_count;
  int32_t stack;
};

// z = z_M + alpha delta, rounded as Combine rounds it. Sets bits of `errors` where no token may be
// drawn: 1 delta is not finite, 2 M is not a number or +inf, 4 the sum is not finite where M is.
enum DrawErrors : int32_t { kBadDelta = 1, kBadModel = 2, kBadSum = 4, kNothingLeft = 8 };
UNLEARN_HOST_DEVICE inline float CombineLogit(float model, float delta, float alpha,
                                              int32_t& errors) {
#ifdef __CUDA_ARCH__
  const float added = __fmul_rn(alpha, delta);
  const float sum = __fadd_rn(model, added);
#else
  volatile float product = alpha * delta;  // no fused multiply-add
  const float added = product;
  const float sum = model + added;
#endif
  const bool finite = delta - delta == 0 && added - added == 0;
  if (!finite) errors |= kBadDelta;
  if (!(model < INFINITY)) errors |= kBadModel;
  if (!(sum < INFINITY) || (sum == -INFINITY && model != -INFINITY)) errors |= kBadSum;
  return sum;
}

// The better of two candidates for a token: the higher score, the lower id where they tie.
struct Candidate {
  double score = -INFINITY;
  int32_t id = 0x7FFFFFFF;
};
UNLEARN_HOST_DEVICE inline void Take(Candidate& best, const Candidate& other) {
  if (other.score > best.score || (other.score == best.score && other.id < best.id)) best = other;
}

// log of a sum of exponentials, in parts: highest logit, sum of exp(logit - highest) in double.
struct LogSum {
  float highest = -INFINITY;
  double sum = 0;
};
UNLEARN_HOST_DEVICE inline void Merge(LogSum& into, const LogSum& other) {
  if (other.highest == -INFINITY) return;
  if (into.highest == -INFINITY) {
    into = other;
  } else if (other.highest > into.highest) {
    into.sum = into.sum * exp(static_cast<double>(into.highest) - other.highest) + other.sum;
    into.highest = other.highest;
  } else {
    into.sum += other.sum * exp(static_cast<double>(other.highest) - into.highest);
  }
}

}  // namespace unlearn

#endif  // OFFSET_CUDA_KERNEL_MATH_H_
