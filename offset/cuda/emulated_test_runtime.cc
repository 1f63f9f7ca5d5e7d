#include "offset/cuda/device_test_runtime.h"
#include "offset/cuda/emulated_runtime.h"

namespace unlearn {

absl::StatusOr<std::unique_ptr<DeviceRuntime>> MakeTestRuntime() { return MakeEmulatedRuntime(); }

}  // namespace unlearn
