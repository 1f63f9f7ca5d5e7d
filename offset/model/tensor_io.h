#ifndef OFFSET_MODEL_TENSOR_IO_H_
#define OFFSET_MODEL_TENSOR_IO_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "offset/model/safetensors.h"

namespace unlearn {

// A copy of the view as a tensor of `dtype` (fp32, bf16 or fp16 sources). UNIMPLEMENTED names the
// tensor for any other source; INVALID_ARGUMENT when it holds a value that is not finite.
absl::StatusOr<at::Tensor> TensorFromView(const std::string& name, const TensorView& view,
                                          at::ScalarType dtype);

// Safetensors bytes of tensors, each cast to `dtype` (fp32, bf16 or fp16).
std::string SerializeTensors(const std::map<std::string, at::Tensor>& tensors, at::ScalarType dtype,
                             const std::map<std::string, std::string>& metadata);

}  // namespace unlearn

#endif  // OFFSET_MODEL_TENSOR_IO_H_
