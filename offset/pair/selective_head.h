#ifndef OFFSET_PAIR_SELECTIVE_HEAD_H_
#define OFFSET_PAIR_SELECTIVE_HEAD_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/model/decoder.h"

namespace unlearn {

// delta of few tokens, and a bound on that of all others, without the product over the vocabulary.
//
// delta_v = W_v · d with d = h_o - h_r, the head W being shared by reference and offset. Softmax
// ignores what all tokens have in common, so delta is given less its mean over the vocabulary:
// (W_v - mean W) · d, of which Cauchy-Schwarz bounds every token's by ‖W_v - mean W‖ ‖d‖. On
// prompts that the offset leaves alone, ‖d‖ is small and the bound alone decides the token.
// Immutable and thread-safe.
class SelectiveHead {
 public:
  // Reads the head once. `tokens`: ids of the tokenizer; rows beyond them stand for no token and
  // count neither for the mean nor for the bound. FAILED_PRECONDITION when the head's rows are not
  // finite: no bound holds then. That delta is linear in d (no adapter on the head, no soft cap
  // behind it) is what loading an adapter and a config.json has checked before.
  static absl::StatusOr<SelectiveHead> Make(std::shared_ptr<const Decoder> base, int64_t tokens);

  // Centred delta of `ids`, in their order. difference: d, [hidden]. INVALID_ARGUMENT for an id
  // outside the tokenizer.
  absl::StatusOr<std::vector<float>> Rows(absl::Span<const float> difference,
                                          absl::Span<const int32_t> ids) const;

  // No token's centred delta is larger than this in size, whether computed by Rows, by Full or in
  // exact arithmetic: rounding is included.
  float Bound(absl::Span<const float> difference) const;
  // The same for one token: its own row is often far shorter than the longest.
  float BoundOf(absl::Span<const float> difference, int32_t id) const;

  // How far Rows and Full may be from exact arithmetic, for any token.
  float RoundingError(absl::Span<const float> difference) const;

  // Centred delta of all tokens: [tokens].
  std::vector<float> Full(absl::Span<const float> difference) const;

  int64_t tokens() const { return static_cast<int64_t>(norms_.size()); }

 private:
  SelectiveHead() = default;
  // mean W · d.
  double MeanProduct(absl::Span<const float> difference) const;

  std::shared_ptr<const Decoder> base_;
  std::vector<float> mean_;   // [hidden]
  std::vector<float> norms_;  // [tokens], ‖W_v - mean W‖, rounded up
  float largest_norm_ = 0;
  float largest_row_ = 0;  // max ‖W_v‖ and ‖mean W‖, for the rounding error
};

}  // namespace unlearn

#endif  // OFFSET_PAIR_SELECTIVE_HEAD_H_
