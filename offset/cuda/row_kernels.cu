// The parts of a step that work on rows by themselves: embeddings, norms, the MLP's gate.

#include "offset/cuda/device_kernels.h"
#include "offset/cuda/kernel_launch.h"

namespace unlearn {
namespace {

constexpr int kRowThreads = 256;

template <typename T>
__global__ void EmbedRowsKernel(const T* embedding, const int32_t* tokens, int64_t hidden,
                                float scale, float* x) {
  const int64_t row = blockIdx.x;
  const T* const from = embedding + static_cast<int64_t>(tokens[row]) * hidden;
  for (int64_t i = threadIdx.x; i < hidden; i += blockDim.x) {
    x[row * hidden + i] = ToFloat(from[i]) * scale;
  }
}

// One block a row; the row stays in shared memory between the passes.
template <typename T>
__global__ void AddAndNormKernel(AddAndNormArguments a) {
  UNLEARN_DYNAMIC_SHARED(float, shared);
  float* const values = shared + kRowThreads / kWarpThreads;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * a.hidden;
  float factor = 1;
  if (a.added != nullptr) {
    float squares = 0;
    for (int64_t i = threadIdx.x; i < a.hidden; i += kRowThreads) {
      const float value = a.added[begin + i] + (a.added_bias != nullptr ? a.added_bias[i] : 0.0f);
      values[i] = value;
      squares += value * value;
    }
    if (a.added_norm != nullptr) {
      factor = 1.0f / sqrtf(BlockSum(squares, shared) / static_cast<float>(a.hidden) + a.eps);
    }
  }
  float squares = 0;
  float total = 0;
  for (int64_t i = threadIdx.x; i < a.hidden; i += kRowThreads) {
    const float before = a.x[begin + i];
    float after = before;
    if (a.added != nullptr) {
      after += a.added_norm != nullptr ? values[i] * factor * a.added_norm[i] : values[i];
      a.x[begin + i] = after;
    }
    const float value = a.norm_before_adding ? before : after;
    values[i] = value;
    total += value;
    squares += value * value;
  }
  if (a.weight == nullptr) return;
  const float size = static_cast<float>(a.hidden);
  float mean = 0;
  if (a.bias != nullptr) {
    mean = BlockSum(total, shared) / size;
    squares = 0;
    for (int64_t i = threadIdx.x; i < a.hidden; i += kRowThreads) {
      squares += (values[i] - mean) * (values[i] - mean);
    }
  }
  const float scale = 1.0f / sqrtf(BlockSum(squares, shared) / size + a.eps);
  T* const out = static_cast<T*>(a.out) + begin;
  for (int64_t i = threadIdx.x; i < a.hidden; i += kRowThreads) {
    const float normed = (values[i] - mean) * scale * a.weight[i];
    out[i] = FromFloat<T>(a.bias != nullptr ? normed + a.bias[i] : normed);
  }
}

template <typename T>
__global__ void ActivateRowsKernel(ActivateRowsArguments a) {
  const int64_t row = blockIdx.y;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= a.intermediate) return;
  const float* const inner = a.inner + row * (a.gated ? 2 : 1) * a.intermediate;
  const float first = inner[i] + (a.bias != nullptr ? a.bias[i] : 0.0f);
  float value = Activate(a.activation, first);
  if (a.gated) {
    const int64_t up = a.intermediate + i;
    value *= inner[up] + (a.bias != nullptr ? a.bias[up] : 0.0f);
  }
  static_cast<T*>(a.out)[row * a.intermediate + i] = FromFloat<T>(value);
}

template <typename T>
__global__ void SubtractRowsKernel(const float* hidden, const DeviceRowPair* pairs, int64_t size,
                                   float* difference, T* high, T* low) {
  const DeviceRowPair pair = pairs[blockIdx.x];
  const int64_t to = static_cast<int64_t>(blockIdx.x) * size;
  for (int64_t i = threadIdx.x; i < size; i += blockDim.x) {
    const float value = hidden[pair.offset * size + i] - hidden[pair.reference * size + i];
    difference[to + i] = value;
    const T rounded = FromFloat<T>(value);
    high[to + i] = rounded;
    if (low != nullptr) low[to + i] = FromFloat<T>(value - ToFloat(rounded));
  }
}

__global__ void AddInPlaceKernel(const float* added, int64_t count, float* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) y[i] += added[i];
}

}  // namespace

void EmbedRows(DeviceStream stream, ElementType type, const void* embedding, const int32_t* tokens,
               int64_t rows, int64_t hidden, float scale, float* x) {
  if (rows == 0) return;
  if (type == ElementType::kFloat32) {
    Launch(stream, CeilDivide(rows, 1), kRowThreads, 0, EmbedRowsKernel<float>,
           static_cast<const float*>(embedding), tokens, hidden, scale, x);
  } else {
    Launch(stream, CeilDivide(rows, 1), kRowThreads, 0, EmbedRowsKernel<Bf16>,
           static_cast<const Bf16*>(embedding), tokens, hidden, scale, x);
  }
}

void AddAndNorm(DeviceStream stream, const AddAndNormArguments& arguments) {
  if (arguments.rows == 0) return;
  const size_t shared = (arguments.hidden + kRowThreads / kWarpThreads) * sizeof(float);
  const unsigned rows = CeilDivide(arguments.rows, 1);
  if (arguments.out_type == ElementType::kFloat32) {
    Launch(stream, rows, kRowThreads, shared, AddAndNormKernel<float>, arguments);
  } else {
    Launch(stream, rows, kRowThreads, shared, AddAndNormKernel<Bf16>, arguments);
  }
}

void ActivateRows(DeviceStream stream, const ActivateRowsArguments& arguments) {
  if (arguments.rows == 0) return;
  const LaunchDim grid(CeilDivide(arguments.intermediate, kRowThreads),
                       CeilDivide(arguments.rows, 1));
  if (arguments.out_type == ElementType::kFloat32) {
    Launch(stream, grid, kRowThreads, 0, ActivateRowsKernel<float>, arguments);
  } else {
    Launch(stream, grid, kRowThreads, 0, ActivateRowsKernel<Bf16>, arguments);
  }
}

void SubtractRows(DeviceStream stream, ElementType type, const float* hidden,
                  const DeviceRowPair* pairs, int64_t wanted, int64_t size, float* difference,
                  void* high, void* low) {
  if (wanted == 0) return;
  const unsigned rows = CeilDivide(wanted, 1);
  if (type == ElementType::kFloat32) {
    Launch(stream, rows, kRowThreads, 0, SubtractRowsKernel<float>, hidden, pairs, size, difference,
           static_cast<float*>(high), static_cast<float*>(nullptr));
  } else {
    Launch(stream, rows, kRowThreads, 0, SubtractRowsKernel<Bf16>, hidden, pairs, size, difference,
           static_cast<Bf16*>(high), static_cast<Bf16*>(low));
  }
}

void AddInPlace(DeviceStream stream, const float* added, int64_t count, float* y) {
  if (count == 0) return;
  Launch(stream, CeilDivide(count, kRowThreads), kRowThreads, 0, AddInPlaceKernel, added, count, y);
}

}  // namespace unlearn
