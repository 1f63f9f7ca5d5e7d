#include "offset/cuda/cuda_libraries.h"

#include <c10/util/Backtrace.h>
#include <dlfcn.h>
#include <stdlib.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

// Where the library lies that holds `address`, links followed.
std::string FolderOf(const void* address) {
  Dl_info info;
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "";
  const std::unique_ptr<char, decltype(&free)> path(realpath(info.dli_fname, nullptr), free);
  const std::string name = path != nullptr ? path.get() : info.dli_fname;
  return name.substr(0, name.rfind('/'));
}

}  // namespace

absl::Status OpenLibrary(const std::string& path, bool global, void** handle) {
  *handle = dlopen(path.c_str(), RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
  if (*handle != nullptr) return absl::OkStatus();
  const char* const why = dlerror();
  return absl::FailedPreconditionError(
      absl::StrCat("cannot open ", path, ": ", why == nullptr ? "no reason given" : why));
}

absl::Status CheckCudaDriver(const std::string& driver) {
  void* library = nullptr;
  if (absl::Status status = OpenLibrary(driver, /*global=*/false, &library); !status.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("no NVIDIA driver on this machine (", status.message(), ")"));
  }
  using Init = int (*)(unsigned);
  using Count = int (*)(int*);
  const auto init = reinterpret_cast<Init>(dlsym(library, "cuInit"));
  const auto count_devices = reinterpret_cast<Count>(dlsym(library, "cuDeviceGetCount"));
  if (init == nullptr || count_devices == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(driver, " is not NVIDIA's driver"));
  }
  if (const int error = init(0); error != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("NVIDIA's driver is here but does not start: cuInit gave error ", error,
                     error == 100 ? " (no GPU)" : ""));
  }
  int count = 0;
  if (const int error = count_devices(&count); error != 0 || count == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("NVIDIA's driver sees no GPU (error ", error, ", count ", count, ")"));
  }
  return absl::OkStatus();
}

absl::Status OpenTorchCuda(const std::string& folder) {
  const std::string from =
      folder.empty() ? FolderOf(reinterpret_cast<const void*>(&c10::get_backtrace)) : folder;
  void* library = nullptr;
  if (absl::Status status =
          OpenLibrary(absl::StrCat(from, "/libtorch_cuda.so"), /*global=*/true, &library);
      !status.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "LibTorch's CUDA part does not load: ", status.message(),
        "; run with the LibTorch of a Python environment that has torch 2.11.0 with CUDA 13"));
  }
  return absl::OkStatus();
}

}  // namespace unlearn
