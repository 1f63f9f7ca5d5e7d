#ifndef OFFSET_CUDA_DEVICE_TEST_RUNTIME_H_
#define OFFSET_CUDA_DEVICE_TEST_RUNTIME_H_

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "offset/cuda/device_runtime.h"

namespace unlearn {

// The device that the tests of this binary run on: the emulation, or the first GPU. The tests are
// the same. FAILED_PRECONDITION where there is no GPU: then they are skipped.
absl::StatusOr<std::unique_ptr<DeviceRuntime>> MakeTestRuntime();

// Skips without a device.
class DeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = MakeTestRuntime();
    if (!made.ok()) GTEST_SKIP() << made.status().message();
    runtime_ = *std::move(made);
    runtime_->MakeCurrent();
  }
  at::Tensor OnDevice(const at::Tensor& tensor) { return tensor.to(runtime_->device()).clone(); }
  template <typename T>
  at::Tensor BytesOnDevice(const std::vector<T>& values) {
    return OnDevice(at::from_blob(const_cast<T*>(values.data()),
                                  {static_cast<int64_t>(values.size() * sizeof(T))}, at::kByte));
  }
  at::Tensor Empty(at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
    at::Tensor tensor = at::empty(shape, at::TensorOptions(type).device(runtime_->device()));
    // What nobody writes must not be taken for a number.
    if (tensor.is_floating_point()) tensor.fill_(NAN);
    return tensor;
  }
  at::Tensor OnCpu(const at::Tensor& tensor) {
    runtime_->Wait();
    return tensor.to(at::kCPU);
  }
  DeviceStream stream() { return runtime_->stream(); }

  std::unique_ptr<DeviceRuntime> runtime_;
};

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_TEST_RUNTIME_H_
