#ifndef OFFSET_CUDA_KERNEL_LAUNCH_H_
#define OFFSET_CUDA_KERNEL_LAUNCH_H_

// What a .cu file includes first. UNLEARN_EMULATED_CUDA: the C++ compiler compiles it for tests.

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "offset/cuda/device_stream.h"

#ifdef UNLEARN_EMULATED_CUDA
#include "offset/cuda/emulated_device.h"
#define UNLEARN_DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(::unlearn::emulated::SharedMemory())
#else
#include <cuda_runtime.h>
#define UNLEARN_DYNAMIC_SHARED(type, name)                        \
  extern __shared__ __align__(16) unsigned char unlearn_shared[]; \
  type* const name = reinterpret_cast<type*>(unlearn_shared)
#endif

namespace unlearn {

#ifdef UNLEARN_EMULATED_CUDA

using LaunchDim = emulated::Dim;

template <typename... Parameters, typename... Arguments>
void Launch(DeviceStream stream, LaunchDim grid, LaunchDim block, size_t shared_bytes,
            void (*kernel)(Parameters...), Arguments... arguments) {
  // By value, as a CUDA graph keeps them.
  RunOn(stream, [=] { emulated::Run(grid, block, shared_bytes, [=] { kernel(arguments...); }); });
}

#else

using LaunchDim = dim3;

// Throws std::runtime_error where the launch is refused; what goes wrong inside the kernel shows
// when the stream is waited for.
template <typename... Parameters, typename... Arguments>
void Launch(DeviceStream stream, LaunchDim grid, LaunchDim block, size_t shared_bytes,
            void (*kernel)(Parameters...), Arguments... arguments) {
  kernel<<<grid, block, shared_bytes, stream>>>(arguments...);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string("launch of a CUDA kernel: ") + cudaGetErrorString(error));
  }
}

#endif

constexpr unsigned kWarpThreads = 32;
constexpr unsigned kWholeWarp = 0xFFFFFFFF;

__device__ inline float WarpSum(float value) {
  for (unsigned mask = kWarpThreads / 2; mask > 0; mask /= 2) {
    value += __shfl_xor_sync(kWholeWarp, value, mask);
  }
  return value;
}

// The sum over all threads of a block (a multiple of 32), the same bits in each. `scratch`: one
// number a warp in shared memory.
__device__ inline float BlockSum(float value, float* scratch) {
  value = WarpSum(value);
  const unsigned warps = blockDim.x / kWarpThreads;
  __syncthreads();  // who came before has read the scratch
  if (threadIdx.x % kWarpThreads == 0) scratch[threadIdx.x / kWarpThreads] = value;
  __syncthreads();
  float sum = 0;
  for (unsigned warp = 0; warp < warps; ++warp) sum += scratch[warp];
  return sum;
}

inline unsigned CeilDivide(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

}  // namespace unlearn

#endif  // OFFSET_CUDA_KERNEL_LAUNCH_H_
