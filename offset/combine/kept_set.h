#ifndef OFFSET_COMBINE_KEPT_SET_H_
#define OFFSET_COMBINE_KEPT_SET_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "offset/combine/sampler.h"
#include "offset/combine/vocab_kernels.h"

namespace unlearn {

// Every warp keeps the first tokens in the order of falling logits, ties to the lower id. So the
// kept set is known by the last token that belongs to it. The default keeps all that are possible.
struct LastKept {
  float logit = std::numeric_limits<float>::lowest();
  int32_t id = std::numeric_limits<int32_t>::max();

  bool Keeps(float token_logit, int32_t token) const {
    return token_logit > logit || (token_logit == logit && token <= id);
  }
};

// A checked row of logits with what CombineRow knows of it.
struct VocabRow {
  const float* logits = nullptr;         // [PaddedVocab(vocab)]
  const float* block_highest = nullptr;  // [BlocksOf(vocab)], padded like logits
  size_t vocab = 0;
  float highest = 0;

  absl::Span<const float> Logits() const { return {logits, vocab}; }
  absl::Span<const float> BlockHighest() const { return {block_highest, BlocksOf(vocab)}; }
};

// Finds the set that KeptTokens keeps, token for token, without sorting the vocabulary: fast for a
// top-k of up to a 64th of the vocabulary and a top-p of up to 1 - 2e-5, right for all. Holds
// memory for reuse; not for several threads.
class KeptSetFinder {
 public:
  LastKept Find(const VocabRow& row, const SamplingOptions& options);

  // How many calls could decide top-p only as the reference does, by sorting all: rows in which a
  // sum lies within rounding of the border, such as two equal logits and a top-p of 0.5.
  int64_t sorted_rows() const { return sorted_rows_; }

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  // What is known of the last token that top-p keeps, before it is known.
  struct Bracket {
    float low = 0;  // its logit lies in [low, high)
    float high = 0;
    double above = 0;  // mass of the logits from `high` on
    double total = 0;  // mass of all that min-p left
  };
  static bool MoreLikely(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  }

  void GatherFrom(const VocabRow& row, float least);
  LastKept TopK(const VocabRow& row, float least, size_t k);
  LastKept TopPOfCandidates(float highest, const SamplingOptions& options);
  LastKept TopPOfRow(const VocabRow& row, float least, const SamplingOptions& options);
  Bracket FindBracket(const VocabRow& row, float least, const SamplingOptions& options);
  absl::optional<LastKept> DecideTopP(const Bracket& bracket, double error, float highest,
                                      const SamplingOptions& options) const;

  std::vector<Candidate> candidates_;
  std::vector<float> block_order_;
  AlignedFloats values_;  // of a bracket, and their ids
  std::vector<int32_t> ids_;
  size_t room_ = 0;
  int64_t sorted_rows_ = 0;
};

}  // namespace unlearn

#endif  // OFFSET_COMBINE_KEPT_SET_H_
