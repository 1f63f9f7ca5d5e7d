#ifndef OFFSET_CUDA_DEVICE_FLAG_H_
#define OFFSET_CUDA_DEVICE_FLAG_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace unlearn {

// The flag --device: "auto", "cpu", "cuda" or "cuda:N".
struct DeviceFlag {
  enum class Kind { kAuto, kCpu, kCuda };
  Kind kind = Kind::kAuto;
  int ordinal = 0;
};
// INVALID_ARGUMENT for anything else.
absl::StatusOr<DeviceFlag> ParseDeviceFlag(absl::string_view text);

// The same flag of a program that runs on the CPU alone: "auto" or "cpu".
absl::Status CheckCpuOnlyDeviceFlag(absl::string_view text);

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_FLAG_H_
