#include "offset/cuda/device_flag.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace unlearn {

absl::StatusOr<DeviceFlag> ParseDeviceFlag(absl::string_view text) {
  DeviceFlag device;
  if (text == "auto") return device;
  if (text == "cpu") {
    device.kind = DeviceFlag::Kind::kCpu;
    return device;
  }
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "cuda")) {
    device.kind = DeviceFlag::Kind::kCuda;
    if (rest.empty()) return device;
    if (absl::ConsumePrefix(&rest, ":") && !rest.empty() && rest.size() < 4 &&
        rest.find_first_not_of("0123456789") == absl::string_view::npos &&
        absl::SimpleAtoi(rest, &device.ordinal)) {
      return device;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--device ", text, ": must be auto, cpu, cuda or cuda:N"));
}

absl::Status CheckCpuOnlyDeviceFlag(absl::string_view text) {
  const absl::StatusOr<DeviceFlag> device = ParseDeviceFlag(text);
  if (device.ok() && device->kind != DeviceFlag::Kind::kCuda) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--device ", text, ": ", device.ok() ? "this program runs on the CPU only; " : "",
      "must be auto or cpu"));
}

}  // namespace unlearn
