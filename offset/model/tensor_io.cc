#include "offset/model/tensor_io.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"

namespace unlearn {

absl::StatusOr<at::Tensor> TensorFromView(const std::string& name, const TensorView& view,
                                          at::ScalarType dtype) {
  at::ScalarType source;
  if (view.dtype == "F32") {
    source = at::kFloat;
  } else if (view.dtype == "BF16") {
    source = at::kBFloat16;
  } else if (view.dtype == "F16") {
    source = at::kHalf;
  } else {
    return absl::UnimplementedError(
        absl::StrCat(name, ": dtype ", view.dtype, " is not one of F32, BF16, F16"));
  }
  // The file's data may lie at any byte; memcpy does not mind.
  at::Tensor raw = at::empty(view.shape, at::TensorOptions(source));
  memcpy(raw.data_ptr(), view.data, view.bytes);
  at::Tensor tensor = raw.to(dtype);
  if (!at::isfinite(tensor).all().item<bool>()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": holds a value that is not finite; the file is damaged"));
  }
  return tensor;
}

std::string SerializeTensors(const std::map<std::string, at::Tensor>& tensors, at::ScalarType dtype,
                             const std::map<std::string, std::string>& metadata) {
  std::map<std::string, at::Tensor> kept;
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& cast = kept[name] = tensor.detach().to(at::kCPU, dtype).contiguous();
    TensorView& view = views[name];
    view.dtype = dtype == at::kFloat ? "F32" : dtype == at::kBFloat16 ? "BF16" : "F16";
    view.shape = cast.sizes().vec();
    view.data = static_cast<const char*>(cast.data_ptr());
    view.bytes = cast.nbytes();
  }
  return SerializeSafetensors(views, metadata);
}

}  // namespace unlearn
