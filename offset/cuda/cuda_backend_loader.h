#ifndef OFFSET_CUDA_CUDA_BACKEND_LOADER_H_
#define OFFSET_CUDA_CUDA_BACKEND_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "offset/model/decoder.h"
#include "offset/pair/pair_backend.h"

namespace unlearn {

// The flag --device: "auto", "cpu", "cuda" or "cuda:N".
struct DeviceFlag {
  enum class Kind { kAuto, kCpu, kCuda };
  Kind kind = Kind::kAuto;
  int ordinal = 0;
};
// INVALID_ARGUMENT for anything else.
absl::StatusOr<DeviceFlag> ParseDeviceFlag(absl::string_view text);

// Where what runs on GPUs is looked for. The defaults are for servers, the rest for tests.
struct CudaPaths {
  std::string driver = "libcuda.so.1";
  std::string torch_folder;  // empty: beside the LibTorch of this process
  // Empty: libunlearn_cuda.so beside the program, or where a build leaves it.
  std::string backend;
};

// The pair's backend on the device of the flag. The program links nothing of CUDA: on a machine
// with a GPU the back end is opened here. cuda: FAILED_PRECONDITION says what is missing. auto: the
// CPU where no GPU can be used, with a line in the log.
absl::StatusOr<std::unique_ptr<PairBackend>> MakePairBackend(const DeviceFlag& device,
                                                             std::shared_ptr<const Decoder> base,
                                                             int64_t kv_cache_tokens,
                                                             const CudaPaths& paths = {});

}  // namespace unlearn

#endif  // OFFSET_CUDA_CUDA_BACKEND_LOADER_H_
