#ifndef OFFSET_MODEL_KV_CACHE_H_
#define OFFSET_MODEL_KV_CACHE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "offset/model/model_config.h"

namespace unlearn {

// Keys and values of many sequences in pages of one pool, fp32. A sequence takes pages as it grows
// and gives them back when it is truncated or removed, so admission is a matter of free pages.
// Not thread-safe: it belongs to the thread that runs the model.
class KvCache {
 public:
  static constexpr int64_t kPageTokens = 16;

  // Room for `tokens` positions over all sequences (rounded up to whole pages).
  KvCache(const ModelConfig& config, int64_t tokens);

  // A new, empty sequence.
  int AddSequence();
  void RemoveSequence(int sequence);

  // Makes room for positions [0, length). RESOURCE_EXHAUSTED when the pool has too few free pages;
  // nothing has changed then.
  absl::Status Reserve(int sequence, int64_t length);

  // Positions that the sequence's pages cover.
  int64_t reserved(int sequence) const {
    return static_cast<int64_t>(sequences_[sequence].size()) * kPageTokens;
  }

  // Forgets positions >= length (rollback). Pages beyond it return to the pool.
  void Truncate(int sequence, int64_t length);

  int64_t free_tokens() const { return static_cast<int64_t>(free_pages_.size()) * kPageTokens; }
  int64_t total_tokens() const { return page_count_ * kPageTokens; }

  // [kv_heads, head_dim] of one position, which Reserve has covered.
  const float* Key(int64_t layer, int sequence, int64_t position) const {
    return Row(layer, sequence, position);
  }
  float* Key(int64_t layer, int sequence, int64_t position) {
    return Row(layer, sequence, position);
  }
  const float* Value(int64_t layer, int sequence, int64_t position) const {
    return Row(layer, sequence, position) + kPageTokens * row_floats_;
  }
  float* Value(int64_t layer, int sequence, int64_t position) {
    return Row(layer, sequence, position) + kPageTokens * row_floats_;
  }
  int64_t row_floats() const { return row_floats_; }

 private:
  float* Row(int64_t layer, int sequence, int64_t position) const {
    const int32_t page = sequences_[sequence][position / kPageTokens];
    return pool_.get() +
           ((layer * page_count_ + page) * 2 * kPageTokens + position % kPageTokens) * row_floats_;
  }

  const int64_t row_floats_;  // kv_heads * head_dim
  const int64_t page_count_;
  // [layers, pages, 2 (key, value), page tokens, kv_heads, head_dim]
  std::unique_ptr<float[]> pool_;
  std::vector<int32_t> free_pages_;
  std::vector<std::vector<int32_t>> sequences_;  // page table of each sequence
  std::vector<int> free_sequences_;
};

}  // namespace unlearn

#endif  // OFFSET_MODEL_KV_CACHE_H_
