#ifndef OFFSET_CUDA_CUDA_BACKEND_ABI_H_
#define OFFSET_CUDA_CUDA_BACKEND_ABI_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "offset/model/decoder.h"
#include "offset/pair/pair_backend.h"

namespace unlearn {

struct PairDeviceOptions {
  int64_t kv_cache_tokens = 0;  // positions over all sequences
  bool fp32 = false;            // on a GPU: fp32 instead of bf16
};

// What libunlearn_cuda.so gives the program that opens it: the one function that it exports.
struct CudaBackendAbi {
  // CudaBackendStamp() of the library; another stamp means another build.
  std::string stamp;
  absl::StatusOr<std::unique_ptr<PairBackend>> (*make_pair_backend)(
      int ordinal, const Decoder& base, const PairDeviceOptions& options);
};
constexpr char kCudaBackendSymbol[] = "UnlearnCudaBackend";
using GetCudaBackend = const CudaBackendAbi* (*)();

// Program and library share classes; what of their layout can be seen from here must agree. The
// first number changes with the meaning of anything else.
inline std::string CudaBackendStamp() {
  return absl::StrCat("unlearn-cuda 4, ", sizeof(CudaBackendAbi), " ", sizeof(ModelConfig), " ",
                      sizeof(Decoder), " ", sizeof(DecoderLayerWeights), " ", sizeof(LoraStack),
                      " ", sizeof(LoraLinear), " ", sizeof(TokenBatch), " ", sizeof(KvPages), " ",
                      sizeof(EnsembleDrawer::Request), ", ", __VERSION__);
}

}  // namespace unlearn

#endif  // OFFSET_CUDA_CUDA_BACKEND_ABI_H_
