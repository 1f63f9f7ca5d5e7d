#include "offset/cuda/cuda_device_runtime.h"

#include <ATen/core/TensorBase.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <c10/core/InferenceMode.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

void Check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    throw std::runtime_error(absl::StrCat(what, ": ", cudaGetErrorString(error)));
  }
}

// Compute capability that the kernels' code starts at.
constexpr int kOldestMajor = 8;

class CudaGraph final : public DeviceRuntime::Graph {
 public:
  void Replay() override { graph.replay(); }
  at::cuda::CUDAGraph graph;
};

class CudaRuntime final : public DeviceRuntime {
 public:
  CudaRuntime(int ordinal, int multiprocessors)
      : ordinal_(ordinal),
        multiprocessors_(multiprocessors),
        // Streams of the pool, not the default one: that cannot be captured.
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, ordinal)),
        uploads_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, ordinal)) {
    Check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
  }
  ~CudaRuntime() override { cudaEventDestroy(event_); }

  at::Device device() const override {
    return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(ordinal_));
  }
  int multiprocessors() const override { return multiprocessors_; }
  DeviceStream stream() const override { return stream_.stream(); }

  void MakeCurrent() override {
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(ordinal_));
    c10::cuda::setCurrentCUDAStream(stream_);
  }

  void Multiply(const at::Tensor& x, const at::Tensor& weight, at::Tensor& y) override {
    if (x.scalar_type() == at::kFloat) {
      at::mm_out(y, x, weight.t());
    } else {
      at::mm_out(y, x, weight.t(), at::kFloat);
    }
  }

  at::Tensor PinnedBytes(int64_t bytes) override {
    return at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(true));
  }
  void CopyToDevice(void* to, const void* from, size_t bytes) override {
    Check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream()), "copy to the GPU");
  }
  void CopyToHost(void* to, const void* from, size_t bytes) override {
    Check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()), "copy from the GPU");
  }
  void CopyPieces(void* to, const void* from, size_t bytes, size_t pitch, size_t count) override {
    Check(
        cudaMemcpy2DAsync(to, pitch, from, pitch, bytes, count, cudaMemcpyDeviceToDevice, stream()),
        "copy of pages");
  }
  void Wait() override { Check(cudaStreamSynchronize(stream()), "GPU"); }

  void Upload(void* to, const void* from, size_t bytes) override {
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(ordinal_));
    Check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, uploads_.stream()),
          "upload to the GPU");
  }
  void WaitForUploads() override {
    Check(cudaStreamSynchronize(uploads_.stream()), "upload to the GPU");
  }
  void JoinUploads() override {
    Check(cudaEventRecord(event_, uploads_.stream()), "cudaEventRecord");
    Check(cudaStreamWaitEvent(stream(), event_, 0), "cudaStreamWaitEvent");
    Check(cudaEventRecord(event_, stream()), "cudaEventRecord");
    Check(cudaStreamWaitEvent(uploads_.stream(), event_, 0), "cudaStreamWaitEvent");
  }

  std::unique_ptr<Graph> Capture(const std::function<void()>& work) override {
    auto captured = std::make_unique<CudaGraph>();
    // Other threads may take memory meanwhile.
    captured->graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      // The stream must leave the capture, whatever has gone wrong.
      try {
        captured->graph.capture_end();
      } catch (...) {
      }
      throw;
    }
    captured->graph.capture_end();
    return captured;
  }

 private:
  const int ordinal_;
  const int multiprocessors_;
  const c10::cuda::CUDAStream stream_;
  const c10::cuda::CUDAStream uploads_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceRuntime>> MakeCudaRuntime(int ordinal) {
  return CatchTorch(
      absl::StrCat("GPU ", ordinal), [&]() -> absl::StatusOr<std::unique_ptr<DeviceRuntime>> {
        int count = 0;
        if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
          return absl::FailedPreconditionError(
              absl::StrCat("no usable GPU: ", cudaGetErrorString(error)));
        }
        if (ordinal >= count) {
          return absl::FailedPreconditionError(absl::StrCat(
              "there is no GPU ", ordinal, ": this machine has ", count,
              " GPUs that the process may use (CUDA_VISIBLE_DEVICES?), numbered from 0"));
        }
        cudaDeviceProp properties;
        Check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
        if (properties.major < kOldestMajor) {
          return absl::FailedPreconditionError(
              absl::StrCat(properties.name, " has compute capability ", properties.major, ".",
                           properties.minor, ", the kernels need ", kOldestMajor, ".0"));
        }
        return std::make_unique<CudaRuntime>(ordinal, properties.multiProcessorCount);
      });
}

}  // namespace unlearn
