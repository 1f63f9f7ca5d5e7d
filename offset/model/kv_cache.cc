#include "offset/model/kv_cache.h"

#include "absl/strings/str_cat.h"

namespace unlearn {

KvCache::KvCache(const ModelConfig& config, int64_t tokens)
    : row_floats_(config.num_kv_heads * config.head_dim),
      page_count_((tokens + kPageTokens - 1) / kPageTokens),
      // Left uninitialised: the system hands out memory as pages are first written.
      pool_(new float[config.num_layers * page_count_ * 2 * kPageTokens * row_floats_]) {
  free_pages_.reserve(page_count_);
  for (int64_t page = page_count_ - 1; page >= 0; --page) free_pages_.push_back(page);
}

int KvCache::AddSequence() {
  if (!free_sequences_.empty()) {
    const int sequence = free_sequences_.back();
    free_sequences_.pop_back();
    return sequence;
  }
  sequences_.emplace_back();
  return static_cast<int>(sequences_.size()) - 1;
}

void KvCache::RemoveSequence(int sequence) {
  Truncate(sequence, 0);
  free_sequences_.push_back(sequence);
}

absl::Status KvCache::Reserve(int sequence, int64_t length) {
  std::vector<int32_t>& pages = sequences_[sequence];
  const int64_t needed = (length + kPageTokens - 1) / kPageTokens;
  const int64_t more = needed - static_cast<int64_t>(pages.size());
  if (more > static_cast<int64_t>(free_pages_.size())) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the KV cache has room for ", free_tokens(), " of ", total_tokens(),
                     " tokens, the sequence needs ", more * kPageTokens,
                     " more; retry later or raise --kv_cache_tokens"));
  }
  for (int64_t i = 0; i < more; ++i) {
    pages.push_back(free_pages_.back());
    free_pages_.pop_back();
  }
  return absl::OkStatus();
}

void KvCache::Truncate(int sequence, int64_t length) {
  std::vector<int32_t>& pages = sequences_[sequence];
  const size_t keep = (length + kPageTokens - 1) / kPageTokens;
  while (pages.size() > keep) {
    free_pages_.push_back(pages.back());
    pages.pop_back();
  }
}

}  // namespace unlearn
