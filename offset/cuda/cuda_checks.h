#ifndef OFFSET_CUDA_CUDA_CHECKS_H_
#define OFFSET_CUDA_CUDA_CHECKS_H_

// Between cuda_checks, which opens LibTorch's CUDA part, and libcuda_checks.so, which needs it:
// tests and benchmarks of the CUDA back end on the machine's first GPU.

namespace unlearn {

constexpr char kCudaChecksSymbol[] = "UnlearnCudaChecks";
// `why_no_gpu`: empty where there is one; else each test is skipped with this reason. Returns what
// main returns.
using CudaChecks = int (*)(int argc, char** argv, const char* why_no_gpu);

}  // namespace unlearn

#endif  // OFFSET_CUDA_CUDA_CHECKS_H_
