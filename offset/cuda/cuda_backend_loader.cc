#include "offset/cuda/cuda_backend_loader.h"

#include <dlfcn.h>
#include <unistd.h>

#include <climits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "offset/base/log.h"
#include "offset/base/status_macros.h"
#include "offset/cuda/cuda_backend_abi.h"
#include "offset/cuda/cuda_libraries.h"
#include "offset/pair/cpu_pair_backend.h"

namespace unlearn {
namespace {

constexpr char kLibrary[] = "libunlearn_cuda.so";

// Beside the program; in the folders of a build, of which the program lies in one.
absl::StatusOr<std::string> FindBackend() {
  char buffer[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", buffer, sizeof(buffer));
  const std::string program(buffer, length > 0 ? length : 0);
  std::vector<std::string> tried;
  std::string folder = program;
  while (true) {
    const size_t slash = folder.rfind('/');
    if (slash == std::string::npos || slash == 0) break;
    folder.resize(slash);
    for (const char* const within : {"", "offset/cuda/"}) {
      const std::string path = absl::StrCat(folder, "/", within, kLibrary);
      if (access(path.c_str(), R_OK) == 0) return path;
      if (tried.size() < 4) tried.push_back(path);
    }
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the CUDA back end is not installed; looked for ", absl::StrJoin(tried, ", ")));
}

absl::StatusOr<std::unique_ptr<PairBackend>> MakeCudaBackend(int ordinal, const Decoder& base,
                                                             const PairDeviceOptions& options,
                                                             const CudaPaths& paths) {
  RETURN_IF_ERROR(CheckCudaDriver(paths.driver));
  std::string library = paths.backend;
  if (library.empty()) {
    ASSIGN_OR_RETURN(library, FindBackend());
  }
  RETURN_IF_ERROR(OpenTorchCuda(paths.torch_folder));
  void* handle = nullptr;
  RETURN_IF_ERROR(OpenLibrary(library, /*global=*/false, &handle));
  const auto get = reinterpret_cast<GetCudaBackend>(dlsym(handle, kCudaBackendSymbol));
  if (get == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(library, " is not a CUDA back end: it lacks ", kCudaBackendSymbol));
  }
  const CudaBackendAbi* const abi = get();
  if (abi->stamp != CudaBackendStamp()) {
    return absl::FailedPreconditionError(absl::StrCat(library, " is of another build (", abi->stamp,
                                                      ") than this program (", CudaBackendStamp(),
                                                      "); install both together"));
  }
  return abi->make_pair_backend(ordinal, base, options);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PairBackend>> MakePairBackend(const DeviceFlag& device,
                                                             std::shared_ptr<const Decoder> base,
                                                             const PairDeviceOptions& options,
                                                             const CudaPaths& paths) {
  if (device.kind != DeviceFlag::Kind::kCpu) {
    auto backend = MakeCudaBackend(device.ordinal, *base, options, paths);
    if (backend.ok()) return backend;
    if (device.kind == DeviceFlag::Kind::kCuda) {
      return absl::Status(backend.status().code(),
                          absl::StrCat("--device=cuda: ", backend.status().message()));
    }
    LogInfo("--device=auto: the pair runs on the CPU: ", backend.status().message());
  }
  return std::make_unique<CpuPairBackend>(std::move(base), options.kv_cache_tokens);
}

}  // namespace unlearn
