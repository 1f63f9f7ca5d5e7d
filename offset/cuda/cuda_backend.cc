// What libunlearn_cuda.so exports.

#include "offset/base/status_macros.h"
#include "offset/cuda/cuda_backend_abi.h"
#include "offset/cuda/cuda_device_runtime.h"
#include "offset/cuda/device_pair_backend.h"

namespace unlearn {
namespace {

absl::StatusOr<std::unique_ptr<PairBackend>> MakePair(int ordinal, const Decoder& base,
                                                      const PairDeviceOptions& wanted) {
  ASSIGN_OR_RETURN(std::unique_ptr<DeviceRuntime> runtime, MakeCudaRuntime(ordinal));
  DevicePairBackend::Options options;
  options.kv_cache_tokens = wanted.kv_cache_tokens;
  if (wanted.fp32) options.dtype = at::kFloat;
  return DevicePairBackend::Make(std::move(runtime), base, options);
}

}  // namespace
}  // namespace unlearn

extern "C" __attribute__((visibility("default"))) const unlearn::CudaBackendAbi*
UnlearnCudaBackend() {
  static const unlearn::CudaBackendAbi* const abi =
      new unlearn::CudaBackendAbi{unlearn::CudaBackendStamp(), unlearn::MakePair};
  return abi;
}
