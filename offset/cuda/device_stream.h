#ifndef OFFSET_CUDA_DEVICE_STREAM_H_
#define OFFSET_CUDA_DEVICE_STREAM_H_

#include <functional>

struct CUstream_st;

namespace unlearn {

// cudaStream_t, without CUDA's headers. In the emulation: null, or what records.
using DeviceStream = CUstream_st*;

#ifdef UNLEARN_EMULATED_CUDA
// Runs the work now, or records it where the stream is being captured.
void RunOn(DeviceStream stream, std::function<void()> work);
#endif

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_STREAM_H_
