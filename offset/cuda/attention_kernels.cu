// Queries, keys and values after their product, and attention over pages.

#include "offset/cuda/device_kernels.h"
#include "offset/cuda/kernel_launch.h"

namespace unlearn {
namespace {

constexpr int kAttendWarps = 8;
// Query heads that share the keys a warp has loaded.
constexpr int kHeadTile = 4;

// One warp a head of a row; heads in the order queries, keys, values.
template <typename T>
__global__ void FinishQkvKernel(FinishQkvArguments a) {
  const int lane = static_cast<int>(threadIdx.x % kWarpThreads);
  const int head =
      static_cast<int>(blockIdx.y * (blockDim.x / kWarpThreads) + threadIdx.x / kWarpThreads);
  const int heads = a.shape.heads + 2 * a.shape.kv_heads;
  if (head >= heads) return;  // a whole warp
  const int64_t row = blockIdx.x;
  const int32_t position = a.batch.positions[row];
  if (position < 0) return;
  const int size = a.shape.head_dim;
  float* const vector = a.qkv + (row * heads + head) * size;
  const float* const bias =
      a.bias != nullptr ? a.bias + static_cast<int64_t>(head) * size : nullptr;
  const bool is_query = head < a.shape.heads;
  const bool is_value = head >= a.shape.heads + a.shape.kv_heads;
  const float* const norm = is_value ? nullptr : is_query ? a.query_norm : a.key_norm;
  float factor = 1;
  if (norm != nullptr) {
    float squares = 0;
    for (int i = lane; i < size; i += kWarpThreads) {
      const float value = vector[i] + (bias != nullptr ? bias[i] : 0.0f);
      squares += value * value;
    }
    factor = 1.0f / sqrtf(WarpSum(squares) / static_cast<float>(size) + a.eps);
  }
  const auto element = [&](int i) {
    const float value = vector[i] + (bias != nullptr ? bias[i] : 0.0f);
    return norm != nullptr ? value * factor * norm[i] : value;
  };
  T* cached = nullptr;
  if (!is_query) {
    const int kv_head = head - a.shape.heads - (is_value ? a.shape.kv_heads : 0);
    const int32_t page = a.batch.pages[a.batch.page_begins[row] + position / kDevicePageTokens];
    cached = static_cast<T*>(a.pool) +
             KvOffset(page, is_value ? 1 : 0, position, a.shape.kv_heads, kv_head, size);
  }
  const auto put = [&](int i, float value) {
    if (is_query) {
      vector[i] = value;
    } else {
      cached[i] = FromFloat<T>(value);
    }
  };
  const int half = is_value ? 0 : a.half;
  // Each lane reads and writes its own elements only.
  for (int i = lane; i < half; i += kWarpThreads) {
    const float cosine = a.cosine[static_cast<int64_t>(position) * a.half + i];
    const float sine = a.sine[static_cast<int64_t>(position) * a.half + i];
    const float first = element(i);
    const float second = element(i + half);
    put(i, first * cosine - second * sine);
    put(i + half, second * cosine + first * sine);
  }
  for (int i = 2 * half + lane; i < size; i += kWarpThreads) put(i, element(i));
}

// A block: one row, up to kHeadTile query heads of one kv head, one split of the positions. Its
// warps take positions in turn; a lane holds the element pairs 2 lane, 2 lane + 64, …
template <typename T, int kPairs>
__global__ void __launch_bounds__(kAttendWarps* kWarpThreads) AttendKernel(AttendArguments a) {
  UNLEARN_DYNAMIC_SHARED(float, shared);
  const int size = a.shape.head_dim;
  const int group = a.shape.heads / a.shape.kv_heads;
  const int tiles = (group + kHeadTile - 1) / kHeadTile;
  const int64_t row = blockIdx.x;
  const int kv_head = static_cast<int>(blockIdx.y) / tiles;
  const int first_head = static_cast<int>(blockIdx.y) % tiles * kHeadTile;
  const int tile_heads = group - first_head < kHeadTile ? group - first_head : kHeadTile;
  const int split = static_cast<int>(blockIdx.z);
  const int lane = static_cast<int>(threadIdx.x % kWarpThreads);
  const int warp = static_cast<int>(threadIdx.x / kWarpThreads);
  const int32_t position = a.batch.positions[row];
  SplitRange range = {0, 0};
  if (position >= 0) range = RangeOfSplit(position, a.window, a.splits, split);

  const int row_heads = a.shape.heads + 2 * a.shape.kv_heads;
  float query[kHeadTile][2 * kPairs];
  float sum[kHeadTile][2 * kPairs];
  OnlineSoftmax softmax[kHeadTile];
#pragma unroll
  for (int h = 0; h < kHeadTile; ++h) {
    const float* const from =
        a.qkv + (row * row_heads + kv_head * group + first_head + (h < tile_heads ? h : 0)) * size;
#pragma unroll
    for (int p = 0; p < 2 * kPairs; ++p) {
      const int i = p / 2 * 2 * static_cast<int>(kWarpThreads) + 2 * lane + p % 2;
      query[h][p] = i < size ? from[i] * a.scale : 0.0f;
      sum[h][p] = 0;
    }
  }
  const T* const pool = static_cast<const T*>(a.pool);
  const int32_t* const pages = position >= 0 ? a.batch.pages + a.batch.page_begins[row] : nullptr;
  for (int32_t at = range.begin + warp; at < range.end; at += kAttendWarps) {
    const int32_t page = pages[at / kDevicePageTokens];
    const T* const key = pool + KvOffset(page, 0, at, a.shape.kv_heads, kv_head, size);
    const T* const value = pool + KvOffset(page, 1, at, a.shape.kv_heads, kv_head, size);
    float keys[2 * kPairs];
    float values[2 * kPairs];
#pragma unroll
    for (int p = 0; p < 2 * kPairs; ++p) {
      const int i = p / 2 * 2 * static_cast<int>(kWarpThreads) + 2 * lane + p % 2;
      keys[p] = i < size ? ToFloat(key[i]) : 0.0f;
      values[p] = i < size ? ToFloat(value[i]) : 0.0f;
    }
#pragma unroll
    for (int h = 0; h < kHeadTile; ++h) {
      float score = 0;
#pragma unroll
      for (int p = 0; p < 2 * kPairs; ++p) score += query[h][p] * keys[p];
      const MergeFactors factors = AddScore(softmax[h], WarpSum(score));
#pragma unroll
      for (int p = 0; p < 2 * kPairs; ++p) {
        sum[h][p] = sum[h][p] * factors.old_factor + values[p] * factors.new_factor;
      }
    }
  }

  // The warps' parts: [warps, head tile, size + 2].
  const int part = size + 2;
#pragma unroll
  for (int h = 0; h < kHeadTile; ++h) {
    float* const mine = shared + (warp * kHeadTile + h) * part;
#pragma unroll
    for (int p = 0; p < 2 * kPairs; ++p) {
      const int i = p / 2 * 2 * static_cast<int>(kWarpThreads) + 2 * lane + p % 2;
      if (i < size) mine[i] = sum[h][p];
    }
    if (lane == 0) {
      mine[size] = softmax[h].highest;
      mine[size + 1] = softmax[h].sum;
    }
  }
  __syncthreads();
  for (int element = static_cast<int>(threadIdx.x); element < tile_heads * size;
       element += kAttendWarps * static_cast<int>(kWarpThreads)) {
    const int h = element / size;
    const int i = element % size;
    OnlineSoftmax all;
    float total = 0;
    for (int w = 0; w < kAttendWarps; ++w) {
      const float* const other = shared + (w * kHeadTile + h) * part;
      OnlineSoftmax of_warp;
      of_warp.highest = other[size];
      of_warp.sum = other[size + 1];
      const MergeFactors factors = MergeSoftmax(all, of_warp);
      total = total * factors.old_factor + other[i] * factors.new_factor;
    }
    const int64_t head = kv_head * group + first_head + h;
    if (a.splits == 1) {
      static_cast<T*>(a.out)[(row * a.shape.heads + head) * size + i] =
          FromFloat<T>(position >= 0 ? total / all.sum : 0.0f);
    } else {
      float* const to = a.scratch + ((row * a.shape.heads + head) * a.splits + split) * part;
      to[i] = total;
      if (i == 0) {
        to[size] = all.highest;
        to[size + 1] = all.sum;
      }
    }
  }
}

// The splits of one head of one row into one.
template <typename T>
__global__ void MergeSplitsKernel(AttendArguments a) {
  const int size = a.shape.head_dim;
  const int part = size + 2;
  const int64_t row_head = static_cast<int64_t>(blockIdx.x) * a.shape.heads + blockIdx.y;
  const int32_t position = a.batch.positions[blockIdx.x];
  const float* const parts = a.scratch + row_head * a.splits * part;
  for (int i = static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x)) {
    OnlineSoftmax all;
    float total = 0;
    for (int split = 0; split < a.splits; ++split) {
      OnlineSoftmax one;
      one.highest = parts[split * part + size];
      one.sum = parts[split * part + size + 1];
      const MergeFactors factors = MergeSoftmax(all, one);
      total = total * factors.old_factor + parts[split * part + i] * factors.new_factor;
    }
    static_cast<T*>(a.out)[row_head * size + i] =
        FromFloat<T>(position >= 0 ? total / all.sum : 0.0f);
  }
}

template <typename T>
void AttendWith(DeviceStream stream, const AttendArguments& a) {
  const int group = a.shape.heads / a.shape.kv_heads;
  const int tiles = (group + kHeadTile - 1) / kHeadTile;
  const LaunchDim grid(CeilDivide(a.batch.rows, 1), CeilDivide(a.shape.kv_heads * tiles, 1),
                       CeilDivide(a.splits, 1));
  const LaunchDim block(kAttendWarps * kWarpThreads);
  const size_t shared = sizeof(float) * kAttendWarps * kHeadTile * (a.shape.head_dim + 2);
  if (a.shape.head_dim <= 64) {
    Launch(stream, grid, block, shared, AttendKernel<T, 1>, a);
  } else if (a.shape.head_dim <= 128) {
    Launch(stream, grid, block, shared, AttendKernel<T, 2>, a);
  } else {
    Launch(stream, grid, block, shared, AttendKernel<T, 4>, a);
  }
  if (a.splits > 1) {
    Launch(stream, LaunchDim(CeilDivide(a.batch.rows, 1), CeilDivide(a.shape.heads, 1)),
           LaunchDim(64), 0, MergeSplitsKernel<T>, a);
  }
}

}  // namespace

void FinishQkv(DeviceStream stream, const FinishQkvArguments& arguments) {
  if (arguments.batch.rows == 0) return;
  constexpr int kHeadsPerBlock = 4;
  const int heads = arguments.shape.heads + 2 * arguments.shape.kv_heads;
  const LaunchDim grid(CeilDivide(arguments.batch.rows, 1), CeilDivide(heads, kHeadsPerBlock));
  const LaunchDim block(kHeadsPerBlock * kWarpThreads);
  if (arguments.type == ElementType::kFloat32) {
    Launch(stream, grid, block, 0, FinishQkvKernel<float>, arguments);
  } else {
    Launch(stream, grid, block, 0, FinishQkvKernel<Bf16>, arguments);
  }
}

void Attend(DeviceStream stream, const AttendArguments& arguments) {
  if (arguments.batch.rows == 0) return;
  if (arguments.type == ElementType::kFloat32) {
    AttendWith<float>(stream, arguments);
  } else {
    AttendWith<Bf16>(stream, arguments);
  }
}

}  // namespace unlearn
