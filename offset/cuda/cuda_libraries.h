#ifndef OFFSET_CUDA_CUDA_LIBRARIES_H_
#define OFFSET_CUDA_CUDA_LIBRARIES_H_

#include <string>

#include "absl/status/status.h"

namespace unlearn {

// Whether NVIDIA's driver is here and sees a GPU; costs next to nothing where there is none.
// FAILED_PRECONDITION says what is missing. `driver`: the driver's library.
absl::Status CheckCudaDriver(const std::string& driver = "libcuda.so.1");

// Opens LibTorch's CUDA part, which lies beside the LibTorch that this process runs (`folder`
// empty) and brings cuBLAS and others from its Python environment. To be called before the first
// question about CUDA: LibTorch looks once. FAILED_PRECONDITION says which library is missing.
absl::Status OpenTorchCuda(const std::string& folder = "");

// dlopen with a status. Never closed: what a library has registered stays.
absl::Status OpenLibrary(const std::string& path, bool global, void** handle);

}  // namespace unlearn

#endif  // OFFSET_CUDA_CUDA_LIBRARIES_H_
