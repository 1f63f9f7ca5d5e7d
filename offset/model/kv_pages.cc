#include "offset/model/kv_pages.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace unlearn {

KvPages::KvPages(int64_t tokens) : page_count_(PagesFor(tokens)), holders_(page_count_, 0) {
  free_pages_.reserve(page_count_);
  for (int64_t page = page_count_ - 1; page >= 0; --page) free_pages_.push_back(page);
}

int KvPages::AddSequence() {
  if (!free_sequences_.empty()) {
    const int sequence = free_sequences_.back();
    free_sequences_.pop_back();
    return sequence;
  }
  sequences_.emplace_back();
  return static_cast<int>(sequences_.size()) - 1;
}

void KvPages::RemoveSequence(int sequence) {
  Truncate(sequence, 0);
  free_sequences_.push_back(sequence);
}

absl::Status KvPages::Prepare(absl::Span<const Range> ranges) {
  const auto pages_wanted = [&] {
    int64_t wanted = 0;
    for (const Range& range : ranges) {
      const std::vector<int32_t>& pages = sequences_[range.sequence];
      const int64_t needed = PagesFor(range.end);
      const int64_t held = static_cast<int64_t>(pages.size());
      wanted += std::max<int64_t>(0, needed - held);
      for (int64_t i = FirstPage(range); i < std::min(needed, held); ++i) {
        wanted += IsShared(pages[i]) ? 1 : 0;
      }
    }
    return wanted;
  };
  int64_t wanted = pages_wanted();
  if (wanted > static_cast<int64_t>(free_pages_.size()) && reclaim_ != nullptr) {
    reclaim_(wanted - static_cast<int64_t>(free_pages_.size()));
    wanted = pages_wanted();  // what was shared with the reclaimed is so no more
  }
  if (wanted > static_cast<int64_t>(free_pages_.size())) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the KV cache has room for ", free_tokens(), " of ", total_tokens(),
                     " tokens, the sequences need ", wanted * kPageTokens,
                     " more; retry later or raise --kv_cache_tokens"));
  }
  for (const Range& range : ranges) {
    std::vector<int32_t>& pages = sequences_[range.sequence];
    const int64_t needed = PagesFor(range.end);
    const int64_t held = static_cast<int64_t>(pages.size());
    for (int64_t i = FirstPage(range); i < std::min(needed, held); ++i) {
      if (!IsShared(pages[i])) continue;
      const int32_t copy = TakePage();
      CopyPage(pages[i], copy);
      Release(pages[i]);
      pages[i] = copy;
    }
    while (static_cast<int64_t>(pages.size()) < needed) pages.push_back(TakePage());
  }
  return absl::OkStatus();
}

void KvPages::Truncate(int sequence, int64_t length) {
  std::vector<int32_t>& pages = sequences_[sequence];
  const size_t keep = PagesFor(length);
  while (pages.size() > keep) {
    Release(pages.back());
    pages.pop_back();
  }
}

void KvPages::Release(int32_t page) {
  if (--holders_[page] == 0) free_pages_.push_back(page);
}

void KvPages::Adopt(int sequence, absl::Span<const int32_t> pages) {
  for (const int32_t page : pages) Hold(page);
  sequences_[sequence].assign(pages.begin(), pages.end());
}

void KvPages::Replace(int sequence, int64_t index, int32_t page) {
  Hold(page);
  Release(sequences_[sequence][index]);
  sequences_[sequence][index] = page;
}

int32_t KvPages::TakePage() {
  const int32_t page = free_pages_.back();
  free_pages_.pop_back();
  holders_[page] = 1;
  return page;
}

}  // namespace unlearn
