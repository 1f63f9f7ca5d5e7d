#ifndef OFFSET_PAIR_CPU_DRAWER_H_
#define OFFSET_PAIR_CPU_DRAWER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/combine/token_drawer.h"
#include "offset/pair/ensemble_drawer.h"

namespace unlearn {

// The reference: TokenDrawer on the rows as they came, none of which is copied.
class CpuDrawer final : public EnsembleDrawer {
 public:
  // `tokens`: ids that can be drawn; `vocab`: columns of delta, at least as many.
  static absl::StatusOr<std::unique_ptr<CpuDrawer>> Make(int64_t tokens, int64_t vocab, int slots);

  absl::Status Stage(absl::Span<const int> slots, std::vector<float> rows) override;
  absl::Status KeepDeltas(const at::Tensor& deltas, absl::Span<const int> slots) override;
  absl::Status KeepReferences(const at::Tensor& references, absl::Span<const int> slots) override;
  absl::Status KeepZeroDeltas(absl::Span<const int> slots) override;
  absl::Status Draw(absl::Span<const Request> requests, Use use) override;

 private:
  // Rows of one answer of M and of one pass of the pair are shared by their slots, until the last
  // of them is drawn from or filled anew.
  struct Slot {
    std::shared_ptr<const std::vector<float>> rows;
    at::Tensor references;
    const float* model = nullptr;  // in `rows` or `references`: [tokens]
    at::Tensor deltas;
    const float* delta = nullptr;  // in `deltas` or zeros_: [tokens]
  };

  CpuDrawer(int64_t tokens, int64_t vocab, int slots);
  absl::StatusOr<SampledToken> DrawOne(const Request& request);

  const int64_t tokens_;
  const int64_t vocab_;
  const std::vector<float> zeros_;  // [tokens]
  // A slot's M part belongs to who stages it, until it is drawn from.
  std::vector<Slot> slots_;
  TokenDrawer drawer_;
};

}  // namespace unlearn

#endif  // OFFSET_PAIR_CPU_DRAWER_H_
