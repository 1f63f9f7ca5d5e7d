#ifndef OFFSET_PAIR_CPU_PAIR_BACKEND_H_
#define OFFSET_PAIR_CPU_PAIR_BACKEND_H_

#include <cstdint>
#include <memory>

#include "offset/model/decoder.h"
#include "offset/model/kv_cache.h"
#include "offset/pair/pair_backend.h"

namespace unlearn {

// The reference: a row's result depends on its own sequence alone, bit for bit.
class CpuPairBackend : public PairBackend {
 public:
  // `kv_cache_tokens`: positions over all sequences.
  CpuPairBackend(std::shared_ptr<const Decoder> base, int64_t kv_cache_tokens);

  const ModelConfig& config() const override { return base_->config(); }
  KvPages& pages() override { return cache_; }
  absl::Status AddStack(const std::shared_ptr<const LoraStack>&) override {
    return absl::OkStatus();
  }
  bool needs_warming() const override { return false; }
  absl::Status Warm(const std::shared_ptr<const LoraStack>&) override { return absl::OkStatus(); }
  absl::StatusOr<at::Tensor> Differences(const TokenBatch& batch,
                                         absl::Span<const RowPair> wanted) override;
  absl::StatusOr<at::Tensor> Deltas(const TokenBatch& batch,
                                    absl::Span<const RowPair> wanted) override;
  absl::StatusOr<PairRows> QueueRows(const TokenBatch& batch, absl::Span<const RowPair> wanted,
                                     absl::Span<const int64_t> drafting) override;
  absl::StatusOr<std::unique_ptr<EnsembleDrawer>> MakeDrawer(int64_t tokens, int slots) override;

 private:
  // h_o - h_r of `wanted`, then h_r of those of `drafting`.
  absl::StatusOr<at::Tensor> HiddenRows(const TokenBatch& batch, absl::Span<const RowPair> wanted,
                                        absl::Span<const int64_t> drafting);

  const std::shared_ptr<const Decoder> base_;
  KvCache cache_;
};

}  // namespace unlearn

#endif  // OFFSET_PAIR_CPU_PAIR_BACKEND_H_
