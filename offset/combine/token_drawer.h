#ifndef OFFSET_COMBINE_TOKEN_DRAWER_H_
#define OFFSET_COMBINE_TOKEN_DRAWER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "offset/combine/kept_set.h"
#include "offset/combine/noise_search.h"
#include "offset/combine/sampler.h"
#include "offset/combine/vocab_kernels.h"

namespace unlearn {

// From M's row and the pair's to a token, in few passes over the vocabulary: what Combine and
// SampleToken do, token for token, many times as fast. Holds the ensemble's row and memory for
// reuse; not for several threads.
class TokenDrawer {
 public:
  explicit TokenDrawer(size_t vocab);

  // z = z_M + alpha delta, as unlearn::Combine, whose errors these are. model, delta: [vocab].
  // After an error, there is no row to draw from.
  absl::Status Combine(absl::Span<const float> model, absl::Span<const float> delta, double alpha);

  // From the row that Combine made: a pure function of row, options and key. options: checked.
  SampledToken Draw(const SamplingOptions& options, const NoiseKey& key);

  // log softmax(z)[token] at temperature 1, before any warp; off by 1e-5 at most, and by the
  // rounding of the result to fp32.
  float Logprob(int32_t token) const;

  absl::Span<const float> ensemble() const { return row_.Logits(); }  // [vocab]
  const VocabRow& row() const { return row_; }
  const KeptSetFinder& kept_set() const { return kept_set_; }

 private:
  int32_t MostLikely() const;
  int32_t DrawWithNoise(const SamplingOptions& options, const NoiseKey& key);

  AlignedFloats ensemble_;
  AlignedFloats block_highest_;
  VocabRow row_;
  double log_sum_ = 0;  // log sum of exp(z)
  KeptSetFinder kept_set_;
  std::vector<BlockBound> bounds_;
  std::vector<float> noise_;
};

}  // namespace unlearn

#endif  // OFFSET_COMBINE_TOKEN_DRAWER_H_
