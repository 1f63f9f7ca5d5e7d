#ifndef OFFSET_CUDA_DEVICE_RUNTIME_H_
#define OFFSET_CUDA_DEVICE_RUNTIME_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <memory>

#include "offset/cuda/device_stream.h"

namespace unlearn {

// What the pair needs of a device besides kernels: memory, streams, the large products, graphs. Two
// exist: CUDA's, and an emulation on the CPU that runs the same kernels for tests. LibTorch's
// exceptions and std::runtime_error pass through. But for Upload, for one thread.
class DeviceRuntime {
 public:
  // Work that was captured once and is queued again as a whole.
  class Graph {
   public:
    virtual ~Graph() = default;
    virtual void Replay() = 0;
  };

  virtual ~DeviceRuntime() = default;

  virtual at::Device device() const = 0;
  virtual int multiprocessors() const = 0;
  // What LibTorch does on the calling thread from here on goes to this device and stream().
  virtual void MakeCurrent() = 0;
  // Where work is queued in order.
  virtual DeviceStream stream() const = 0;

  // y [rows, out] = x [rows, in] weightᵀ, summed and returned in fp32. x and weight are of one
  // type.
  virtual void Multiply(const at::Tensor& x, const at::Tensor& weight, at::Tensor& y) = 0;

  // Memory of the CPU that the device copies from and to by itself.
  virtual at::Tensor PinnedBytes(int64_t bytes) = 0;
  // Queued on stream(); the CPU's side is pinned and stays as it is until Wait.
  virtual void CopyToDevice(void* to, const void* from, size_t bytes) = 0;
  virtual void CopyToHost(void* to, const void* from, size_t bytes) = 0;
  // `count` pieces of `bytes`, `pitch` bytes apart on both sides.
  virtual void CopyPieces(void* to, const void* from, size_t bytes, size_t pitch, size_t count) = 0;
  // Until everything on stream() is done; throws what went wrong there.
  virtual void Wait() = 0;

  // A copy beside stream(), from any thread, one at a time. `from` is pinned.
  virtual void Upload(void* to, const void* from, size_t bytes) = 0;
  // Until the uploads so far have left the CPU's memory.
  virtual void WaitForUploads() = 0;
  // What is queued on stream() from here on comes after the uploads so far, and uploads from here
  // on come after what is on stream() now.
  virtual void JoinUploads() = 0;

  // Captures what `work` queues on stream(), without running it. `work` has run before.
  virtual std::unique_ptr<Graph> Capture(const std::function<void()>& work) = 0;
};

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_RUNTIME_H_
