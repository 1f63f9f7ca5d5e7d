#ifndef OFFSET_CUDA_EMULATED_DEVICE_H_
#define OFFSET_CUDA_EMULATED_DEVICE_H_

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

// What kernels need of CUDA, on the CPU, for tests: the very sources that nvcc compiles are
// compiled by the C++ compiler against this header, and their logic is tested on machines without a
// GPU. The threads of a block are fibers that change at barriers and shuffles only. So races
// between barriers, alignment and speed stay untested; memory is poisoned, barriers that not all
// threads reach abort.
namespace unlearn {
namespace emulated {

struct Dim {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
  Dim() = default;
  Dim(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Of the thread that runs now.
struct Place {
  Dim thread;
  Dim block;
  Dim block_size;
  Dim grid_size;
};
const Place& Here();

// Runs `kernel` once for each thread, block after block, with `shared_bytes` of memory a block.
void Run(Dim grid, Dim block, size_t shared_bytes, const std::function<void()>& kernel);

void* SharedMemory();
void BlockBarrier();
void WarpBarrier();
// Gives the warp's other threads 8 bytes, and returns those of `lane`.
uint64_t Exchange(uint64_t bits, unsigned lane);
unsigned LaneOfThis();

template <typename T>
T Shuffle(T value, unsigned lane) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = Exchange(bits, lane);
  memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace emulated

template <typename T>
T __shfl_xor_sync(unsigned, T value, unsigned mask) {
  return emulated::Shuffle(value, emulated::LaneOfThis() ^ mask);
}
template <typename T>
T __shfl_sync(unsigned, T value, unsigned lane) {
  return emulated::Shuffle(value, lane);
}
inline void __syncthreads() { emulated::BlockBarrier(); }
inline void __syncwarp() { emulated::WarpBarrier(); }
inline int atomicOr(int* at, int bits) {
  const int before = *at;
  *at |= bits;
  return before;
}
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }

}  // namespace unlearn

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (::unlearn::emulated::Here().thread)
#define blockIdx (::unlearn::emulated::Here().block)
#define blockDim (::unlearn::emulated::Here().block_size)
#define gridDim (::unlearn::emulated::Here().grid_size)

#endif  // OFFSET_CUDA_EMULATED_DEVICE_H_
