#include "offset/cuda/emulated_runtime.h"

#include <ATen/ATen.h>

#include <cstring>
#include <vector>

namespace unlearn {
namespace {

using Recorded = std::vector<std::function<void()>>;

class EmulatedGraph final : public DeviceRuntime::Graph {
 public:
  void Replay() override {
    for (const std::function<void()>& work : recorded) work();
  }
  Recorded recorded;
};

class EmulatedRuntime final : public DeviceRuntime {
 public:
  at::Device device() const override { return at::Device(at::kCPU); }
  int multiprocessors() const override { return 6; }
  void MakeCurrent() override {}
  DeviceStream stream() const override { return stream_; }

  void Multiply(const at::Tensor& x, const at::Tensor& weight, at::Tensor& y) override {
    RunOn(stream_,
          [x, weight, y]() mutable { at::mm_out(y, x.to(at::kFloat), weight.to(at::kFloat).t()); });
  }
  at::Tensor PinnedBytes(int64_t bytes) override {
    return at::empty({bytes}, at::TensorOptions(at::kByte));
  }
  void CopyToDevice(void* to, const void* from, size_t bytes) override { Copy(to, from, bytes); }
  void CopyToHost(void* to, const void* from, size_t bytes) override { Copy(to, from, bytes); }
  void CopyPieces(void* to, const void* from, size_t bytes, size_t pitch, size_t count) override {
    for (size_t i = 0; i < count; ++i) {
      Copy(static_cast<char*>(to) + i * pitch, static_cast<const char*>(from) + i * pitch, bytes);
    }
  }
  void Wait() override {}
  void Upload(void* to, const void* from, size_t bytes) override { memcpy(to, from, bytes); }
  void WaitForUploads() override {}
  void JoinUploads() override {}

  std::unique_ptr<Graph> Capture(const std::function<void()>& work) override {
    auto graph = std::make_unique<EmulatedGraph>();
    stream_ = reinterpret_cast<DeviceStream>(&graph->recorded);
    work();
    stream_ = nullptr;
    return graph;
  }

 private:
  void Copy(void* to, const void* from, size_t bytes) {
    RunOn(stream_, [=] { memcpy(to, from, bytes); });
  }
  DeviceStream stream_ = nullptr;
};

}  // namespace

void RunOn(DeviceStream stream, std::function<void()> work) {
  if (stream == nullptr) {
    work();
  } else {
    reinterpret_cast<Recorded*>(stream)->push_back(std::move(work));
  }
}

std::unique_ptr<DeviceRuntime> MakeEmulatedRuntime() { return std::make_unique<EmulatedRuntime>(); }

}  // namespace unlearn
