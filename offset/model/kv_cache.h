#ifndef OFFSET_MODEL_KV_CACHE_H_
#define OFFSET_MODEL_KV_CACHE_H_

#include <algorithm>
#include <cstdint>
#include <memory>

#include "offset/model/kv_pages.h"
#include "offset/model/model_config.h"

namespace unlearn {

// Keys and values of many sequences in pages of one pool in the CPU's memory, fp32.
class KvCache final : public KvPages {
 public:
  // Room for `tokens` positions over all sequences (rounded up to whole pages).
  KvCache(const ModelConfig& config, int64_t tokens)
      : KvPages(tokens),
        layers_(config.num_layers),
        row_floats_(config.num_kv_heads * config.head_dim),
        // Left uninitialised: the system hands out memory as pages are first written.
        pool_(new float[layers_ * page_count() * 2 * kPageTokens * row_floats_]) {}

  // [kv_heads, head_dim] of one position, which Prepare has covered.
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
  void CopyPage(int32_t from, int32_t to) override {
    for (int64_t layer = 0; layer < layers_; ++layer) {
      std::copy_n(PageOfLayer(layer, from), 2 * kPageTokens * row_floats_, PageOfLayer(layer, to));
    }
  }
  float* PageOfLayer(int64_t layer, int32_t page) const {
    return pool_.get() + (layer * page_count() + page) * 2 * kPageTokens * row_floats_;
  }
  float* Row(int64_t layer, int sequence, int64_t position) const {
    return PageOfLayer(layer, PageOf(sequence, position)) + position % kPageTokens * row_floats_;
  }

  const int64_t layers_;
  const int64_t row_floats_;  // kv_heads * head_dim
  // [layers, pages, 2 (key, value), page tokens, kv_heads, head_dim]
  std::unique_ptr<float[]> pool_;
};

}  // namespace unlearn

#endif  // OFFSET_MODEL_KV_CACHE_H_
