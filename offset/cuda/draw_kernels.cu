// From M's rows and delta to tokens.

#include "offset/cuda/device_kernels.h"
#include "offset/cuda/kernel_launch.h"

namespace unlearn {
namespace {

constexpr int kDrawThreads = 256;
constexpr int kDrawWarps = kDrawThreads / static_cast<int>(kWarpThreads);

// A thread's part of a chunk, reduced over the block through shared memory (parts are larger than a
// shuffle takes). `all`: one a thread.
template <typename Part, typename Combine>
__device__ void ReduceBlock(Part& part, Part* all, const Combine& combine) {
  all[threadIdx.x] = part;
  __syncthreads();
  for (unsigned half = kDrawThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) combine(all[threadIdx.x], all[threadIdx.x + half]);
    __syncthreads();
  }
  part = all[0];
}

struct MergeSums {
  __device__ void operator()(LogSum& into, const LogSum& other) const { Merge(into, other); }
};
struct TakeBest {
  __device__ void operator()(Candidate& into, const Candidate& other) const { Take(into, other); }
};

// z of one chunk of one draw, its log-sum and what is wrong with it.
__global__ void CombineKernel(DrawTokensArguments a) {
  UNLEARN_DYNAMIC_SHARED(LogSum, shared);
  int* const errors = reinterpret_cast<int*>(shared + kDrawThreads);
  const DeviceDraw draw = a.draws[blockIdx.y];
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kDrawChunk;
  const int64_t end = begin + kDrawChunk < a.tokens ? begin + kDrawChunk : a.tokens;
  const float* const model = a.model + draw.model_row * a.model_stride;
  const float* const delta = a.delta + draw.delta_row * a.delta_stride;
  float* const ensemble = a.ensemble + static_cast<int64_t>(blockIdx.y) * a.tokens;
  if (threadIdx.x == 0) *errors = 0;
  int32_t wrong = 0;
  float highest = -INFINITY;
  for (int64_t i = begin + threadIdx.x; i < end; i += kDrawThreads) {
    const float z = CombineLogit(model[i], delta[i], draw.alpha, wrong);
    ensemble[i] = z;
    if (z > highest) highest = z;
  }
  // Exponentials in fp32 of differences that are exact enough, summed in double.
  LogSum sum;
  sum.highest = highest;
  for (int64_t i = begin + threadIdx.x; i < end; i += kDrawThreads) {
    if (highest > -INFINITY) sum.sum += expf(ensemble[i] - highest);
  }
  __syncthreads();
  if (wrong != 0) atomicOr(errors, wrong);
  ReduceBlock(sum, shared, MergeSums());
  if (threadIdx.x == 0) {
    const int64_t part = static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x;
    a.sums[part] = sum;
    a.chunk_errors[part] = *errors;
  }
}

// The best token of one chunk. A warp takes blocks of 64 tokens; a block whose bound is below what
// the warp has found is not opened.
__global__ void SearchKernel(DrawTokensArguments a) {
  UNLEARN_DYNAMIC_SHARED(Candidate, shared);
  const DeviceDraw draw = a.draws[blockIdx.y];
  const int64_t chunks = gridDim.x;
  if (draw.forced >= 0) {  // the same for the whole block
    if (threadIdx.x == 0) {
      Candidate forced;
      forced.score = 0;
      forced.id = draw.forced;
      a.candidates[blockIdx.y * chunks + blockIdx.x] = forced;
    }
    return;
  }
  const float* const ensemble = a.ensemble + static_cast<int64_t>(blockIdx.y) * a.tokens;
  float highest = -INFINITY;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const float of_chunk = a.sums[blockIdx.y * chunks + chunk].highest;
    if (of_chunk > highest) highest = of_chunk;
  }
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kDrawChunk;
  const int64_t end = begin + kDrawChunk < a.tokens ? begin + kDrawChunk : a.tokens;
  const bool greedy = draw.inverse_temperature == 0;
  const double floor = draw.min_p_log + highest;
  const int lane = static_cast<int>(threadIdx.x % kWarpThreads);
  Candidate best;
  double best_of_warp = -INFINITY;
  for (int64_t first = begin + threadIdx.x / kWarpThreads * kDeviceNoiseBlock; first < end;
       first += kDrawWarps * kDeviceNoiseBlock) {
    float z[2];
    float block_highest = -INFINITY;
    for (int k = 0; k < 2; ++k) {
      const int64_t i = first + lane + k * static_cast<int>(kWarpThreads);
      z[k] = i < end ? ensemble[i] : -INFINITY;
      if (z[k] > block_highest) block_highest = z[k];
    }
    if (greedy) {
      for (int k = 0; k < 2; ++k) {
        Candidate one;
        one.score = z[k];
        one.id = static_cast<int32_t>(first + lane + k * static_cast<int>(kWarpThreads));
        if (z[k] > -INFINITY) Take(best, one);
      }
      continue;
    }
    for (unsigned mask = kWarpThreads / 2; mask > 0; mask /= 2) {
      const float other = __shfl_xor_sync(kWholeWarp, block_highest, mask);
      if (other > block_highest) block_highest = other;
    }
    if (!(block_highest > -INFINITY) || block_highest < floor) continue;  // the same in all lanes
    const DeviceBlockNoise noise =
        DeviceNoiseOfBlock(draw.key, static_cast<uint32_t>(first / kDeviceNoiseBlock));
    const double bound =
        (static_cast<double>(block_highest) - highest) * draw.inverse_temperature + noise.highest;
    if (bound < best_of_warp) continue;
    double found = best_of_warp;
    for (int k = 0; k < 2; ++k) {
      if (!(z[k] > -INFINITY) || z[k] < floor) continue;
      Candidate one;
      one.id = static_cast<int32_t>(first + lane + k * static_cast<int>(kWarpThreads));
      one.score = (static_cast<double>(z[k]) - highest) * draw.inverse_temperature +
                  DeviceGumbelNoise(draw.key, noise, one.id);
      Take(best, one);
      if (one.score > found) found = one.score;
    }
    for (unsigned mask = kWarpThreads / 2; mask > 0; mask /= 2) {
      const double other = __shfl_xor_sync(kWholeWarp, found, mask);
      if (other > found) found = other;
    }
    best_of_warp = found;
  }
  ReduceBlock(best, shared, TakeBest());
  if (threadIdx.x == 0) a.candidates[blockIdx.y * chunks + blockIdx.x] = best;
}

// One thread a draw: what the chunks found, and the log-prob.
__global__ void FinishKernel(DrawTokensArguments a, int64_t chunks) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= a.count) return;
  LogSum sum;
  Candidate best;
  int32_t errors = 0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    Merge(sum, a.sums[row * chunks + chunk]);
    Take(best, a.candidates[row * chunks + chunk]);
    errors |= a.chunk_errors[row * chunks + chunk];
  }
  DeviceDrawn drawn;
  if (!(sum.highest > -INFINITY) || best.id < 0 || best.id >= a.tokens) errors |= kNothingLeft;
  drawn.errors = errors;
  drawn.id = -1;
  drawn.logprob = 0;
  if (errors == 0) {
    drawn.id = best.id;
    drawn.logprob = static_cast<float>(static_cast<double>(a.ensemble[row * a.tokens + best.id]) -
                                       (sum.highest + log(sum.sum)));
  }
  a.drawn[row] = drawn;
}

}  // namespace

void DrawTokens(DeviceStream stream, const DrawTokensArguments& a) {
  if (a.count == 0) return;
  const int64_t chunks = DrawChunks(a.tokens);
  const LaunchDim grid(CeilDivide(a.tokens, kDrawChunk), CeilDivide(a.count, 1));
  const LaunchDim block(kDrawThreads);
  Launch(stream, grid, block, kDrawThreads * sizeof(LogSum) + sizeof(int), CombineKernel, a);
  Launch(stream, grid, block, kDrawThreads * sizeof(Candidate), SearchKernel, a);
  Launch(stream, LaunchDim(CeilDivide(a.count, 32)), LaunchDim(32), 0, FinishKernel, a, chunks);
}

}  // namespace unlearn
