// Stand-ins for what is opened at run time, for cuda_backend_loader_test. Which one is a macro.

#include "offset/cuda/cuda_backend_abi.h"

#if defined(FAKE_DRIVER_GPUS)

extern "C" int cuInit(unsigned) { return FAKE_DRIVER_GPUS > 0 ? 0 : 100; }
extern "C" int cuDeviceGetCount(int* count) {
  *count = FAKE_DRIVER_GPUS;
  return 0;
}

#elif defined(FAKE_BACKEND)

namespace unlearn {
namespace {

absl::StatusOr<std::unique_ptr<PairBackend>> MakePair(int ordinal, const Decoder&,
                                                      const PairDeviceOptions&) {
  return absl::FailedPreconditionError(absl::StrCat("GPU ", ordinal, " is a fake"));
}

}  // namespace
}  // namespace unlearn

extern "C" const unlearn::CudaBackendAbi* UnlearnCudaBackend() {
  static const unlearn::CudaBackendAbi* const abi = new unlearn::CudaBackendAbi{
      FAKE_BACKEND > 0 ? unlearn::CudaBackendStamp() : "x", unlearn::MakePair};
  return abi;
}

#endif
