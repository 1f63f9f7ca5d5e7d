#include "offset/pair/cpu_pair_backend.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "offset/base/status_macros.h"
#include "offset/model/torch_boundary.h"
#include "offset/pair/cpu_drawer.h"

namespace unlearn {

CpuPairBackend::CpuPairBackend(std::shared_ptr<const Decoder> base, int64_t kv_cache_tokens)
    : base_(std::move(base)), cache_(base_->config(), kv_cache_tokens) {}

absl::StatusOr<at::Tensor> CpuPairBackend::Differences(const TokenBatch& batch,
                                                       absl::Span<const RowPair> wanted) {
  at::Tensor hidden;
  if (batch.size() > 0) {
    ASSIGN_OR_RETURN(hidden, ForwardTokens(*base_, batch, cache_));
  }
  return CatchTorch("hidden states of the pair", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    const int64_t size = config().hidden_size;
    at::Tensor difference =
        at::empty({static_cast<int64_t>(wanted.size()), size}, at::TensorOptions(at::kFloat));
    if (wanted.empty()) return difference;
    const float* const rows = hidden.const_data_ptr<float>();
    float* to = difference.data_ptr<float>();
    for (const RowPair& pair : wanted) {
      const float* const offset = rows + pair.offset * size;
      to = std::transform(offset, offset + size, rows + pair.reference * size, to,
                          [](float o, float r) { return o - r; });
    }
    return difference;
  });
}

absl::StatusOr<at::Tensor> CpuPairBackend::Deltas(const TokenBatch& batch,
                                                  absl::Span<const RowPair> wanted) {
  ASSIGN_OR_RETURN(const at::Tensor difference, Differences(batch, wanted));
  return CatchTorch("delta of the pair", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    if (wanted.empty()) {
      return at::empty({0, config().vocab_size}, at::TensorOptions(at::kFloat));
    }
    return base_->Logits(difference);
  });
}

absl::StatusOr<std::unique_ptr<EnsembleDrawer>> CpuPairBackend::MakeDrawer(int64_t tokens,
                                                                           int slots) {
  return CpuDrawer::Make(tokens, config().vocab_size, slots);
}

}  // namespace unlearn
