#ifndef OFFSET_CUDA_EMULATED_RUNTIME_H_
#define OFFSET_CUDA_EMULATED_RUNTIME_H_

#include <memory>

#include "offset/cuda/device_runtime.h"

namespace unlearn {

// The CPU in the role of a GPU, for tests. Captured work keeps its arguments, as CUDA's graphs do,
// so that what a graph must not depend on shows.
std::unique_ptr<DeviceRuntime> MakeEmulatedRuntime();

}  // namespace unlearn

#endif  // OFFSET_CUDA_EMULATED_RUNTIME_H_
