#include "offset/model/kernels.h"

#include <algorithm>
#include <cmath>

// Function multi-versioning: one binary, the widest vectors the machine has.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define UNLEARN_SIMD __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#else
#define UNLEARN_SIMD
#endif

namespace unlearn {
namespace {

constexpr int kLanes = 16;  // independent partial sums let the compiler use vectors

}  // namespace

UNLEARN_SIMD
void RmsNormRow(const float* x, const float* weight, int64_t size, float eps, float* out) {
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += x[i + lane] * x[i + lane];
  }
  float sum = 0;
  for (; i < size; ++i) sum += x[i] * x[i];
  for (const float partial : sums) sum += partial;
  const float scale = 1.0f / std::sqrt(sum / size + eps);
  for (i = 0; i < size; ++i) out[i] = x[i] * scale * weight[i];
}

UNLEARN_SIMD
void RotateHeads(float* vectors, int64_t heads, int64_t head_dim, const RopeTable& rope,
                 int64_t position) {
  const int64_t half = rope.half;
  const float* cosine = rope.cosine.data() + position * half;
  const float* sine = rope.sine.data() + position * half;
  for (int64_t head = 0; head < heads; ++head) {
    float* first = vectors + head * head_dim;
    float* second = first + half;
    for (int64_t i = 0; i < half; ++i) {
      const float a = first[i];
      const float b = second[i];
      first[i] = a * cosine[i] - b * sine[i];
      second[i] = b * cosine[i] + a * sine[i];
    }
  }
}

void SwiGluRow(const float* gate_up, int64_t size, float* out) {
  const float* gate = gate_up;
  const float* up = gate_up + size;
  for (int64_t i = 0; i < size; ++i) out[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

void GeGluRow(const float* gate_up, int64_t size, float* out) {
  constexpr float kScale = 0.7978845608028654f;  // sqrt(2 / pi)
  const float* gate = gate_up;
  const float* up = gate_up + size;
  for (int64_t i = 0; i < size; ++i) {
    const float x = gate[i];
    out[i] = 0.5f * x * (1.0f + std::tanh(kScale * (x + 0.044715f * x * x * x))) * up[i];
  }
}

UNLEARN_SIMD
void AttendHead(const float* query, KvCache& cache, int64_t layer, int sequence, int64_t first,
                int64_t position, int64_t kv_head, int64_t head_dim, float scale, float* scratch,
                float* out) {
  const int64_t stride = cache.row_floats();
  const int64_t column = kv_head * head_dim;
  float highest = -INFINITY;
  const int64_t first_page = first - first % KvCache::kPageTokens;
  for (int64_t page = first_page; page <= position; page += KvCache::kPageTokens) {
    const int64_t begin = std::max(first, page);
    const float* key = cache.Key(layer, sequence, begin) + column;
    const int64_t last = std::min(position, page + KvCache::kPageTokens - 1);
    for (int64_t at = begin; at <= last; ++at, key += stride) {
      float sums[kLanes] = {};
      int64_t i = 0;
      for (; i + kLanes <= head_dim; i += kLanes) {
        for (int lane = 0; lane < kLanes; ++lane) sums[lane] += query[i + lane] * key[i + lane];
      }
      float sum = 0;
      for (; i < head_dim; ++i) sum += query[i] * key[i];
      for (const float partial : sums) sum += partial;
      scratch[at] = sum * scale;
      highest = std::max(highest, scratch[at]);
    }
  }
  float total = 0;
  for (int64_t at = first; at <= position; ++at) {
    scratch[at] = std::exp(scratch[at] - highest);
    total += scratch[at];
  }
  for (int64_t i = 0; i < head_dim; ++i) out[i] = 0;
  for (int64_t page = first_page; page <= position; page += KvCache::kPageTokens) {
    const int64_t begin = std::max(first, page);
    const float* value = cache.Value(layer, sequence, begin) + column;
    const int64_t last = std::min(position, page + KvCache::kPageTokens - 1);
    for (int64_t at = begin; at <= last; ++at, value += stride) {
      const float weight = scratch[at] / total;
      for (int64_t i = 0; i < head_dim; ++i) out[i] += weight * value[i];
    }
  }
}

}  // namespace unlearn
