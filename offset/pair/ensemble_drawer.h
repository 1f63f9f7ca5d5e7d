#ifndef OFFSET_PAIR_ENSEMBLE_DRAWER_H_
#define OFFSET_PAIR_ENSEMBLE_DRAWER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/combine/sampler.h"

namespace at {
class Tensor;
}

namespace unlearn {

// Draws tokens of the ensemble where the pair runs, so that on a GPU neither delta nor the ensemble
// leaves it. A slot holds what one token is drawn from: M's row and the pair's row of delta. Who
// uses which slot is the caller's to know: a slot is staged and given its delta, in any order, then
// drawn from once, after a draft from the reference's row perhaps. One that is not drawn from may
// be filled anew; the last row counts.
//
// Stage may be called from any thread, also while Draw runs (for other slots); all else from the
// thread that owns the pair. Made by PairBackend::MakeDrawer; must not outlive the backend.
class EnsembleDrawer {
 public:
  struct Request {
    int slot = 0;
    double alpha = 1;
    SamplingOptions sampling;  // checked
    NoiseKey key;
    // To score: nothing is drawn, this token's log-prob is wanted.
    std::optional<int32_t> forced;
    // A draft: what is drawn stands only if the same is drawn from M's row later, so that the row
    // of delta stays.
    bool draft = false;
  };
  // Gets one request's token.
  using Use = absl::FunctionRef<void(absl::StatusOr<SampledToken>)>;

  virtual ~EnsembleDrawer() = default;

  // M's logits, rows [slots, columns], the first for slots[0] and so on. On a GPU their upload
  // begins here and goes on while the pair runs. INVALID_ARGUMENT for a slot that is not there or
  // rows that are shorter than the tokens to draw from.
  virtual absl::Status Stage(absl::Span<const int> slots, std::vector<float> rows) = 0;

  // The first rows of PairRows::deltas, one for each slot. To be called before the backend's next
  // batch.
  virtual absl::Status KeepDeltas(const at::Tensor& deltas, absl::Span<const int> slots) = 0;
  // The first rows of PairRows::references, in M's place: for a draft.
  virtual absl::Status KeepReferences(const at::Tensor& references,
                                      absl::Span<const int> slots) = 0;
  // delta = 0, of streams under an empty stack.
  virtual absl::Status KeepZeroDeltas(absl::Span<const int> slots) = 0;

  // Calls `use` for each request in turn, as soon as its token is known: on the CPU one by one, so
  // that a stream's next step of M may begin before the next stream's token is drawn; on a GPU when
  // all are. A token whose M row or delta is not finite, or whose request is wrong, is an error of
  // its own, as unlearn::Combine words it. An error of the whole call is the device's; `use` is not
  // called then.
  virtual absl::Status Draw(absl::Span<const Request> requests, Use use) = 0;
};

}  // namespace unlearn

#endif  // OFFSET_PAIR_ENSEMBLE_DRAWER_H_
