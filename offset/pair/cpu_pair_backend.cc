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

absl::StatusOr<at::Tensor> CpuPairBackend::HiddenRows(const TokenBatch& batch,
                                                      absl::Span<const RowPair> wanted,
                                                      absl::Span<const int64_t> drafting) {
  at::Tensor hidden;
  if (batch.size() > 0) {
    ASSIGN_OR_RETURN(hidden, ForwardTokens(*base_, batch, cache_));
  }
  return CatchTorch("hidden states of the pair", [&]() -> absl::StatusOr<at::Tensor> {
    c10::InferenceMode inference;
    const int64_t size = config().hidden_size;
    at::Tensor rows = at::empty({static_cast<int64_t>(wanted.size() + drafting.size()), size},
                                at::TensorOptions(at::kFloat));
    if (wanted.empty()) return rows;
    const float* const from = hidden.const_data_ptr<float>();
    float* to = rows.data_ptr<float>();
    for (const RowPair& pair : wanted) {
      const float* const offset = from + pair.offset * size;
      to = std::transform(offset, offset + size, from + pair.reference * size, to,
                          [](float o, float r) { return o - r; });
    }
    for (const int64_t i : drafting) {
      to = std::copy_n(from + wanted[i].reference * size, size, to);
    }
    return rows;
  });
}

absl::StatusOr<at::Tensor> CpuPairBackend::Differences(const TokenBatch& batch,
                                                       absl::Span<const RowPair> wanted) {
  return HiddenRows(batch, wanted, {});
}

absl::StatusOr<at::Tensor> CpuPairBackend::Deltas(const TokenBatch& batch,
                                                  absl::Span<const RowPair> wanted) {
  ASSIGN_OR_RETURN(const PairRows rows, QueueRows(batch, wanted, {}));
  return rows.deltas;
}

absl::StatusOr<PairRows> CpuPairBackend::QueueRows(const TokenBatch& batch,
                                                   absl::Span<const RowPair> wanted,
                                                   absl::Span<const int64_t> drafting) {
  ASSIGN_OR_RETURN(const at::Tensor hidden, HiddenRows(batch, wanted, drafting));
  return CatchTorch("delta of the pair", [&]() -> absl::StatusOr<PairRows> {
    c10::InferenceMode inference;
    PairRows rows;
    if (wanted.empty()) {
      rows.deltas = at::empty({0, config().vocab_size}, at::TensorOptions(at::kFloat));
      return rows;
    }
    // One product: the head is read once.
    const at::Tensor all = base_->Logits(hidden);
    const int64_t count = static_cast<int64_t>(wanted.size());
    rows.deltas = all.narrow(0, 0, count);
    if (!drafting.empty()) rows.references = all.narrow(0, count, all.size(0) - count);
    return rows;
  });
}

absl::StatusOr<std::unique_ptr<EnsembleDrawer>> CpuPairBackend::MakeDrawer(int64_t tokens,
                                                                           int slots) {
  return CpuDrawer::Make(tokens, config().vocab_size, slots);
}

}  // namespace unlearn
