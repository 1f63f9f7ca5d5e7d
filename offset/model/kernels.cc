#include "offset/model/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// Compiled once for each instruction set; the machine's best is chosen at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "offset/model/kernels.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace unlearn {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

HWY_INLINE int64_t Lanes() { return static_cast<int64_t>(hn::Lanes(D())); }

// The last, incomplete vector of a row, filled up with zeros.
HWY_INLINE V LoadTail(const float* from, int64_t left) {
#if HWY_TARGET <= HWY_AVX3
  // Touches no memory beyond.
  return hn::MaskedLoad(hn::FirstN(D(), left), D(), from);
#endif
  HWY_ALIGN float padded[HWY_MAX_BYTES / sizeof(float)];
  memset(padded, 0, sizeof(padded));
  memcpy(padded, from, left * sizeof(float));
  return hn::Load(D(), padded);
}

HWY_INLINE void StoreTail(V v, int64_t left, float* to) {
#if HWY_TARGET <= HWY_AVX3
  return hn::BlendedStore(v, hn::FirstN(D(), left), D(), to);
#endif
  HWY_ALIGN float padded[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(v, D(), padded);
  memcpy(to, padded, left * sizeof(float));
}

HWY_INLINE float Dot(const float* a, const float* b, int64_t size) {
  const D d;
  const int64_t lanes = Lanes();
  V sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
  }
  if (i < size) sum = hn::MulAdd(LoadTail(a + i, size - i), LoadTail(b + i, size - i), sum);
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// to += factor * from
HWY_INLINE void AddScaled(float factor, const float* from, int64_t size, float* to) {
  const D d;
  const int64_t lanes = Lanes();
  const V by = hn::Set(d, factor);
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::MulAdd(by, hn::LoadU(d, from + i), hn::LoadU(d, to + i)), d, to + i);
  }
  if (i == size) return;
  const int64_t left = size - i;
  StoreTail(hn::MulAdd(by, LoadTail(from + i, left), LoadTail(to + i, left)), left, to + i);
}

void RmsNormRowOn(const float* x, const float* weight, int64_t size, float eps, float* out) {
  const D d;
  const int64_t lanes = Lanes();
  const float scale = 1.0f / std::sqrt(Dot(x, x, size) / size + eps);
  const V scales = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const V scaled = hn::Mul(hn::LoadU(d, x + i), scales);
    hn::StoreU(hn::Mul(scaled, hn::LoadU(d, weight + i)), d, out + i);
  }
  for (; i < size; ++i) out[i] = x[i] * scale * weight[i];
}

void LayerNormRowOn(const float* x, const float* weight, const float* bias, int64_t size, float eps,
                    float* out) {
  const D d;
  const int64_t lanes = Lanes();
  V sums = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) sums = hn::Add(sums, hn::LoadU(d, x + i));
  if (i < size) sums = hn::Add(sums, LoadTail(x + i, size - i));
  const float mean = hn::GetLane(hn::SumOfLanes(d, sums)) / size;
  // The mean first: squares of centred values lose nothing to a large mean.
  const V means = hn::Set(d, mean);
  V squares = hn::Zero(d);
  for (i = 0; i + lanes <= size; i += lanes) {
    const V centred = hn::Sub(hn::LoadU(d, x + i), means);
    squares = hn::MulAdd(centred, centred, squares);
  }
  float square = hn::GetLane(hn::SumOfLanes(d, squares));
  for (; i < size; ++i) square += (x[i] - mean) * (x[i] - mean);
  const float scale = 1.0f / std::sqrt(square / size + eps);
  const V scales = hn::Set(d, scale);
  for (i = 0; i + lanes <= size; i += lanes) {
    const V scaled = hn::Mul(hn::Sub(hn::LoadU(d, x + i), means), scales);
    hn::StoreU(hn::MulAdd(scaled, hn::LoadU(d, weight + i), hn::LoadU(d, bias + i)), d, out + i);
  }
  for (; i < size; ++i) out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

void RotateHeadsOn(float* vectors, int64_t heads, int64_t head_dim, const RopeTable& rope,
                   int64_t position) {
  const D d;
  const int64_t lanes = Lanes();
  const int64_t half = rope.half;
  const float* cosine = rope.cosine.data() + position * half;
  const float* sine = rope.sine.data() + position * half;
  for (int64_t head = 0; head < heads; ++head) {
    float* first = vectors + head * head_dim;
    float* second = first + half;
    int64_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      const V a = hn::LoadU(d, first + i);
      const V b = hn::LoadU(d, second + i);
      const V c = hn::LoadU(d, cosine + i);
      const V s = hn::LoadU(d, sine + i);
      hn::StoreU(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), d, first + i);
      hn::StoreU(hn::MulAdd(b, c, hn::Mul(a, s)), d, second + i);
    }
    for (; i < half; ++i) {
      const float a = first[i];
      const float b = second[i];
      first[i] = a * cosine[i] - b * sine[i];
      second[i] = b * cosine[i] + a * sine[i];
    }
  }
}

// exp of what it can hold: from 88 on it stays at 1.7e38, whose reciprocal is as good as 0.
HWY_INLINE V BoundedExp(V x) {
  const D d;
  return hn::Exp(d, hn::Min(x, hn::Set(d, 88.0f)));
}

HWY_INLINE V Silu(V gate) {
  const D d;
  return hn::Div(gate, hn::Add(hn::Set(d, 1.0f), BoundedExp(hn::Neg(gate))));
}

// gelu in its tanh approximation; 1 + tanh(y) = 2 / (1 + exp(-2y)).
HWY_INLINE V GeluTanh(V gate) {
  const D d;
  constexpr float kScale = 0.7978845608028654f;  // sqrt(2 / pi)
  const V cubic = hn::Mul(hn::Mul(gate, gate), gate);
  const V inner = hn::MulAdd(hn::Set(d, 0.044715f), cubic, gate);
  const V exponential = BoundedExp(hn::Mul(hn::Set(d, -2.0f * kScale), inner));
  return hn::Div(gate, hn::Add(hn::Set(d, 1.0f), exponential));
}

template <V (*kActivation)(V)>
HWY_INLINE void GatedRow(const float* gate_up, int64_t size, float* out) {
  const D d;
  const int64_t lanes = Lanes();
  const float* const up = gate_up + size;
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::Mul(kActivation(hn::LoadU(d, gate_up + i)), hn::LoadU(d, up + i)), d, out + i);
  }
  if (i < size) {
    const V gate = LoadTail(gate_up + i, size - i);
    StoreTail(hn::Mul(kActivation(gate), LoadTail(up + i, size - i)), size - i, out + i);
  }
}

void SwiGluRowOn(const float* gate_up, int64_t size, float* out) {
  GatedRow<Silu>(gate_up, size, out);
}

void GeGluRowOn(const float* gate_up, int64_t size, float* out) {
  GatedRow<GeluTanh>(gate_up, size, out);
}

template <V (*kActivation)(V)>
HWY_INLINE void PlainRow(const float* x, int64_t size, float* out) {
  const D d;
  const int64_t lanes = Lanes();
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(kActivation(hn::LoadU(d, x + i)), d, out + i);
  }
  if (i < size) StoreTail(kActivation(LoadTail(x + i, size - i)), size - i, out + i);
}

void ActivateRowOn(const float* x, ModelConfig::Activation activation, int64_t size, float* out) {
  constexpr float kScale = 0.7071067811865476f;  // 1 / sqrt(2)
  switch (activation) {
    case ModelConfig::Activation::kSilu:
      return PlainRow<Silu>(x, size, out);
    case ModelConfig::Activation::kGeluTanh:
      return PlainRow<GeluTanh>(x, size, out);
    case ModelConfig::Activation::kGelu:  // Highway has no erf
      for (int64_t i = 0; i < size; ++i) out[i] = 0.5f * x[i] * (1.0f + std::erf(kScale * x[i]));
      return;
  }
}

// values[i] = exp(values[i] - highest); returns their sum.
HWY_INLINE float ExpAndSum(float* values, int64_t size, float highest) {
  const D d;
  const int64_t lanes = Lanes();
  const V shift = hn::Set(d, highest);
  V sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const V exponential = hn::Exp(d, hn::Sub(hn::LoadU(d, values + i), shift));
    hn::StoreU(exponential, d, values + i);
    sum = hn::Add(sum, exponential);
  }
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  if (i < size) {
    StoreTail(hn::Exp(d, hn::Sub(LoadTail(values + i, size - i), shift)), size - i, values + i);
    for (; i < size; ++i) total += values[i];
  }
  return total;
}

void AttendHeadOn(const float* query, const KvCache& cache, int64_t layer, int sequence,
                  int64_t first, int64_t position, int64_t kv_head, int64_t head_dim, float scale,
                  float* scratch, float* out) {
  const int64_t stride = cache.row_floats();
  const int64_t column = kv_head * head_dim;
  float highest = -INFINITY;
  const int64_t first_page = first - first % KvCache::kPageTokens;
  for (int64_t page = first_page; page <= position; page += KvCache::kPageTokens) {
    const int64_t begin = std::max(first, page);
    const float* key = cache.Key(layer, sequence, begin) + column;
    const int64_t last = std::min(position, page + KvCache::kPageTokens - 1);
    for (int64_t at = begin; at <= last; ++at, key += stride) {
      scratch[at] = Dot(query, key, head_dim) * scale;
      highest = std::max(highest, scratch[at]);
    }
  }
  const float total = ExpAndSum(scratch + first, position + 1 - first, highest);
  std::fill_n(out, head_dim, 0.0f);
  for (int64_t page = first_page; page <= position; page += KvCache::kPageTokens) {
    const int64_t begin = std::max(first, page);
    const float* value = cache.Value(layer, sequence, begin) + column;
    const int64_t last = std::min(position, page + KvCache::kPageTokens - 1);
    for (int64_t at = begin; at <= last; ++at, value += stride) {
      AddScaled(scratch[at] / total, value, head_dim, out);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace unlearn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace unlearn {

HWY_EXPORT(RmsNormRowOn);
HWY_EXPORT(LayerNormRowOn);
HWY_EXPORT(RotateHeadsOn);
HWY_EXPORT(SwiGluRowOn);
HWY_EXPORT(GeGluRowOn);
HWY_EXPORT(ActivateRowOn);
HWY_EXPORT(AttendHeadOn);

void RmsNormRow(const float* x, const float* weight, int64_t size, float eps, float* out) {
  HWY_DYNAMIC_DISPATCH(RmsNormRowOn)(x, weight, size, eps, out);
}

void LayerNormRow(const float* x, const float* weight, const float* bias, int64_t size, float eps,
                  float* out) {
  HWY_DYNAMIC_DISPATCH(LayerNormRowOn)(x, weight, bias, size, eps, out);
}

void RotateHeads(float* vectors, int64_t heads, int64_t head_dim, const RopeTable& rope,
                 int64_t position) {
  HWY_DYNAMIC_DISPATCH(RotateHeadsOn)(vectors, heads, head_dim, rope, position);
}

void SwiGluRow(const float* gate_up, int64_t size, float* out) {
  HWY_DYNAMIC_DISPATCH(SwiGluRowOn)(gate_up, size, out);
}

void GeGluRow(const float* gate_up, int64_t size, float* out) {
  HWY_DYNAMIC_DISPATCH(GeGluRowOn)(gate_up, size, out);
}

void ActivateRow(const float* x, ModelConfig::Activation activation, int64_t size, float* out) {
  HWY_DYNAMIC_DISPATCH(ActivateRowOn)(x, activation, size, out);
}

void AttendHead(const float* query, const KvCache& cache, int64_t layer, int sequence,
                int64_t first, int64_t position, int64_t kv_head, int64_t head_dim, float scale,
                float* scratch, float* out) {
  HWY_DYNAMIC_DISPATCH(AttendHeadOn)
  (query, cache, layer, sequence, first, position, kv_head, head_dim, scale, scratch, out);
}

}  // namespace unlearn
#endif  // HWY_ONCE
