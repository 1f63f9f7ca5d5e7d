#ifndef OFFSET_CUDA_CUDA_BACKEND_LOADER_H_
#define OFFSET_CUDA_CUDA_BACKEND_LOADER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "offset/cuda/cuda_backend_abi.h"
#include "offset/cuda/device_flag.h"
#include "offset/model/decoder.h"
#include "offset/pair/pair_backend.h"

namespace unlearn {

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
                                                             const PairDeviceOptions& options,
                                                             const CudaPaths& paths = {});

}  // namespace unlearn

#endif  // OFFSET_CUDA_CUDA_BACKEND_LOADER_H_
