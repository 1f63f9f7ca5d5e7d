#ifndef OFFSET_CUDA_DEVICE_WEIGHTS_H_
#define OFFSET_CUDA_DEVICE_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/decoder.h"

namespace unlearn {

// A decoder's weights on a device: matrices in the type that the device computes in, norms and
// biases fp32.
struct DeviceWeights {
  at::Tensor embedding;                     // [vocab, hidden]
  std::vector<DecoderLayerWeights> layers;  // as in the decoder
  at::Tensor final_norm;                    // [hidden]
  at::Tensor final_norm_bias;               // [hidden], undefined where the family has none
  at::Tensor head;                          // [vocab, hidden]; where tied, the embedding itself
  // [positions, half]; the local ones are undefined where all layers share one rope.
  at::Tensor cosine;
  at::Tensor sine;
  at::Tensor local_cosine;
  at::Tensor local_sine;
  // What a step reads of them, rows of the embedding aside.
  int64_t bytes_per_step = 0;
};

// UNIMPLEMENTED names what of the model the kernels do not compute. LibTorch's exceptions pass
// through.
absl::StatusOr<DeviceWeights> CopyWeights(const Decoder& decoder, at::ScalarType dtype,
                                          at::Device device);

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_WEIGHTS_H_
