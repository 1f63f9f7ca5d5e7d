#ifndef OFFSET_CUDA_HOST_DEVICE_H_
#define OFFSET_CUDA_HOST_DEVICE_H_

// For functions that run on the CPU and on GPUs alike; without CUDA's headers.
#ifdef __CUDACC__
#define UNLEARN_HOST_DEVICE __host__ __device__
#else
#define UNLEARN_HOST_DEVICE
#endif

#endif  // OFFSET_CUDA_HOST_DEVICE_H_
