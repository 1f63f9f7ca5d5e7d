#ifndef OFFSET_MODEL_MATRIX_PRODUCT_H_
#define OFFSET_MODEL_MATRIX_PRODUCT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "offset/model/lora.h"

namespace unlearn {

// The products of MultiplyRows on tensors and on LibTorch's threads. Not differentiable.

// y [rows, out] = x [rows, in] weightᵀ, plus bias [out] where it is defined. x and y are fp32,
// contiguous; weight [out, in] is fp32 or bf16, contiguous.
void MultiplyByWeight(const float* x, int64_t rows, const at::Tensor& weight,
                      const at::Tensor& bias, float* y);
// The same as a tensor: x [rows, in] -> [rows, out].
at::Tensor MultiplyByWeight(const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias = at::Tensor());

// y [rows, out] += (x [rows, in] Aᵀ) Bᵀ of an adapter stack's layer. No-op where it adds nothing.
void AddLora(const float* x, int64_t rows, const LoraLinear& lora, float* y);

}  // namespace unlearn

#endif  // OFFSET_MODEL_MATRIX_PRODUCT_H_
