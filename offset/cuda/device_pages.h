#ifndef OFFSET_CUDA_DEVICE_PAGES_H_
#define OFFSET_CUDA_DEVICE_PAGES_H_

#include <ATen/ATen.h>

#include <cstdint>

#include "offset/cuda/device_runtime.h"
#include "offset/model/kv_pages.h"
#include "offset/model/model_config.h"

namespace unlearn {

// Keys and values on a device: [layers, pages, 2, page tokens, kv_heads, head_dim] of one type.
class DevicePages final : public KvPages {
 public:
  // Borrows the runtime.
  DevicePages(const ModelConfig& config, int64_t tokens, at::ScalarType dtype,
              DeviceRuntime* runtime)
      : KvPages(tokens), layers_(config.num_layers), runtime_(runtime) {
    pool_ = at::empty({layers_, page_count(), 2, kPageTokens, config.num_kv_heads, config.head_dim},
                      at::TensorOptions(dtype).device(runtime->device()));
    layer_bytes_ = pool_.stride(0) * static_cast<int64_t>(pool_.element_size());
    page_bytes_ = pool_.stride(1) * static_cast<int64_t>(pool_.element_size());
  }
  void* Layer(int64_t layer) {
    return static_cast<char*>(pool_.mutable_data_ptr()) + layer * layer_bytes_;
  }

 private:
  // Queued: what is written later comes later.
  void CopyPage(int32_t from, int32_t to) override {
    char* const pool = static_cast<char*>(pool_.mutable_data_ptr());
    runtime_->CopyPieces(pool + to * page_bytes_, pool + from * page_bytes_, page_bytes_,
                         layer_bytes_, layers_);
  }

  const int64_t layers_;
  DeviceRuntime* const runtime_;
  at::Tensor pool_;
  int64_t layer_bytes_;
  int64_t page_bytes_;
};

}  // namespace unlearn

#endif  // OFFSET_CUDA_DEVICE_PAGES_H_
