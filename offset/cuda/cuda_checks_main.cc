// Runs the tests of offset/cuda on the first GPU, and with --bench the benchmarks. Options are
// GoogleTest's. Links nothing of CUDA, so that it starts everywhere and says what is missing.

#include <dlfcn.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <string>

#include "offset/cuda/cuda_checks.h"
#include "offset/cuda/cuda_libraries.h"

int main(int argc, char** argv) {
  absl::Status gpu = unlearn::CheckCudaDriver();
  if (gpu.ok()) gpu = unlearn::OpenTorchCuda();
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path));
  const std::string program(path, length > 0 ? length : 0);
  const std::string library = program.substr(0, program.rfind('/')) + "/libcuda_checks.so";
  // Lazily: on a machine without a GPU the functions of libtorch_cuda.so are never found, nor
  // called.
  void* const handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr) {
    fprintf(stderr, "cuda_checks: %s\n", dlerror());
    return 1;
  }
  const auto run = reinterpret_cast<unlearn::CudaChecks>(dlsym(handle, unlearn::kCudaChecksSymbol));
  if (run == nullptr) {
    fprintf(stderr, "cuda_checks: %s\n", dlerror());
    return 1;
  }
  return run(argc, argv, std::string(gpu.message()).c_str());
}
