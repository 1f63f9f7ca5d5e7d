// LoRA for rows under different adapter stacks, without sorting them into separate launches.

#include "offset/cuda/device_kernels.h"
#include "offset/cuda/kernel_launch.h"

namespace unlearn {
namespace {

constexpr int kLoraThreads = 128;

// low[row][rank] = x[row] · A[rank]. A block: one rank of one tile; A is read once for its rows.
template <typename T>
__global__ void LoraDownKernel(AddLoraArguments a) {
  UNLEARN_DYNAMIC_SHARED(float, scratch);  // [warps, tile rows]
  const LoraTile tile = a.tiles[blockIdx.y];
  if (tile.row_count == 0) return;  // the whole block
  const DeviceLora lora = a.loras[tile.stack * a.lora_stride];
  const int rank = static_cast<int>(blockIdx.x);
  if (rank >= lora.rank) return;
  const float* const weights = lora.a + rank * a.in;
  const T* const x = static_cast<const T*>(a.x) + tile.row_begin * a.in;
  float sums[kLoraTileRows] = {};
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < a.in; i += kLoraThreads) {
    const float weight = weights[i];
#pragma unroll
    for (int row = 0; row < kLoraTileRows; ++row) {
      if (row < tile.row_count) sums[row] += weight * ToFloat(x[row * a.in + i]);
    }
  }
  const int warp = static_cast<int>(threadIdx.x / kWarpThreads);
#pragma unroll
  for (int row = 0; row < kLoraTileRows; ++row) {
    const float sum = WarpSum(sums[row]);
    if (threadIdx.x % kWarpThreads == 0) scratch[warp * kLoraTileRows + row] = sum;
  }
  __syncthreads();
  const int row = static_cast<int>(threadIdx.x);
  if (row < tile.row_count) {
    float sum = 0;
    for (int w = 0; w < kLoraThreads / static_cast<int>(kWarpThreads); ++w) {
      sum += scratch[w * kLoraTileRows + row];
    }
    a.low[(tile.row_begin + row) * a.max_rank + rank] = sum;
  }
}

// y[row][out] += sum over ranks of low[row][rank] * B[rank][out]. A thread: one output of one tile.
__global__ void LoraUpKernel(AddLoraArguments a) {
  const LoraTile tile = a.tiles[blockIdx.y];
  if (tile.row_count == 0) return;
  const DeviceLora lora = a.loras[tile.stack * a.lora_stride];
  const int32_t out = static_cast<int32_t>(blockIdx.x * kLoraThreads + threadIdx.x);
  if (out >= a.out) return;
  const float* const low = a.low + tile.row_begin * a.max_rank;
  float sums[kLoraTileRows] = {};
  for (int32_t b = 0; b < lora.block_count; ++b) {
    const DeviceLoraBlock block = lora.blocks[b];
    if (!AddsTo(block, out)) continue;
#pragma unroll 4
    for (int32_t rank = block.rank_begin; rank < block.rank_end; ++rank) {
      const float weight = lora.b[LoraIndex(block, rank, out)];
#pragma unroll
      for (int row = 0; row < kLoraTileRows; ++row) {
        if (row < tile.row_count) sums[row] += weight * low[row * a.max_rank + rank];
      }
    }
  }
#pragma unroll
  for (int row = 0; row < kLoraTileRows; ++row) {
    if (row < tile.row_count) a.y[(tile.row_begin + row) * a.out + out] += sums[row];
  }
}

}  // namespace

void AddLora(DeviceStream stream, const AddLoraArguments& a) {
  if (a.tile_count == 0 || a.max_rank == 0) return;
  const LaunchDim down(CeilDivide(a.max_rank, 1), CeilDivide(a.tile_count, 1));
  const size_t shared = sizeof(float) * kLoraThreads / kWarpThreads * kLoraTileRows;
  if (a.type == ElementType::kFloat32) {
    Launch(stream, down, LaunchDim(kLoraThreads), shared, LoraDownKernel<float>, a);
  } else {
    Launch(stream, down, LaunchDim(kLoraThreads), shared, LoraDownKernel<Bf16>, a);
  }
  Launch(stream, LaunchDim(CeilDivide(a.out, kLoraThreads), CeilDivide(a.tile_count, 1)),
         LaunchDim(kLoraThreads), 0, LoraUpKernel, a);
}

}  // namespace unlearn
