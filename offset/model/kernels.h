#ifndef OFFSET_MODEL_KERNELS_H_
#define OFFSET_MODEL_KERNELS_H_

#include <cstdint>

#include "offset/model/kv_cache.h"
#include "offset/model/model_config.h"
#include "offset/model/rope.h"

namespace unlearn {

// The parts of a decoder step that are no matrix products, on plain fp32 rows. What a row gets
// depends on that row alone, bit for bit.

// out[i] = x[i] / rms(x) * weight[i]; out may be x.
void RmsNormRow(const float* x, const float* weight, int64_t size, float eps, float* out);

// out[i] = (x[i] - mean(x)) / deviation(x) * weight[i] + bias[i]; out may be x.
void LayerNormRow(const float* x, const float* weight, const float* bias, int64_t size, float eps,
                  float* out);

// Rotates `heads` vectors of head_dim in place to `position` (the half-split layout of HF Llama);
// what of a vector lies beyond the table's width is left as it is.
void RotateHeads(float* vectors, int64_t heads, int64_t head_dim, const RopeTable& rope,
                 int64_t position);

// out[i] = silu(gate[i]) * up[i] for one row of the fused [gate; up] product.
void SwiGluRow(const float* gate_up, int64_t size, float* out);

// The same with gelu(gate[i]) in its tanh approximation.
void GeGluRow(const float* gate_up, int64_t size, float* out);

// An MLP without a gate: out[i] = activation(x[i]).
void ActivateRow(const float* x, ModelConfig::Activation activation, int64_t size, float* out);

// Attention of one query head over positions [first, position] of a sequence: first is 0, or where
// a sliding window begins. query: [head_dim], out: [head_dim], scratch: [position + 1].
void AttendHead(const float* query, const KvCache& cache, int64_t layer, int sequence,
                int64_t first, int64_t position, int64_t kv_head, int64_t head_dim, float scale,
                float* scratch, float* out);

}  // namespace unlearn

#endif  // OFFSET_MODEL_KERNELS_H_
