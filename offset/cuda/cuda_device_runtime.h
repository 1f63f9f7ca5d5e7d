#ifndef OFFSET_CUDA_CUDA_DEVICE_RUNTIME_H_
#define OFFSET_CUDA_CUDA_DEVICE_RUNTIME_H_

#include <memory>

#include "absl/status/statusor.h"
#include "offset/cuda/device_runtime.h"

namespace unlearn {

// The GPU of this number. FAILED_PRECONDITION says what is wrong with it, or how many there are.
absl::StatusOr<std::unique_ptr<DeviceRuntime>> MakeCudaRuntime(int ordinal);

}  // namespace unlearn

#endif  // OFFSET_CUDA_CUDA_DEVICE_RUNTIME_H_
