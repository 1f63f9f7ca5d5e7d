#ifndef OFFSET_MODEL_KV_PAGES_H_
#define OFFSET_MODEL_KV_PAGES_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace unlearn {

// Which sequence has which pages of one pool of keys and values, wherever that pool lies: who
// derives from it has the memory. A sequence takes pages as it grows and gives them back when it is
// truncated or removed, so admission is a matter of free pages. Sequences may share pages; who
// writes to a shared page gets a copy of its own first.
// Not thread-safe: it belongs to the thread that runs the model.
class KvPages {
 public:
  static constexpr int64_t kPageTokens = 16;

  // Positions [begin, end) of a sequence.
  struct Range {
    int sequence;
    int64_t begin;
    int64_t end;
  };

  // Room for `tokens` positions over all sequences (rounded up to whole pages).
  explicit KvPages(int64_t tokens);
  virtual ~KvPages() = default;
  KvPages(const KvPages&) = delete;
  KvPages& operator=(const KvPages&) = delete;

  // A new, empty sequence.
  int AddSequence();
  void RemoveSequence(int sequence);

  // Makes the ranges, one a sequence, ready to be written: takes the pages that they need, and
  // copies those that they share. RESOURCE_EXHAUSTED when the pool has too few free pages; nothing
  // has changed then.
  absl::Status Prepare(absl::Span<const Range> ranges);
  // Makes room for positions [0, length) of one sequence.
  absl::Status Reserve(int sequence, int64_t length) {
    return Prepare({{sequence, length, length}});
  }

  // Positions that the sequence's pages cover.
  int64_t reserved(int sequence) const {
    return static_cast<int64_t>(sequences_[sequence].size()) * kPageTokens;
  }

  // Forgets positions >= length (rollback). Pages beyond it return to the pool. Never copies: a
  // shared page stays as it is for the others.
  void Truncate(int sequence, int64_t length);

  // The pages of a sequence, in order of position. Their ids mean something to this pool only.
  absl::Span<const int32_t> pages(int sequence) const { return sequences_[sequence]; }
  // Holds a page beyond the sequence that wrote it, and lets go of it.
  void Hold(int32_t page) { ++holders_[page]; }
  void Release(int32_t page);
  bool IsShared(int32_t page) const { return holders_[page] > 1; }
  // Takes a held page that says the same in place of the sequence's own.
  void Replace(int sequence, int64_t index, int32_t page);
  // Makes held pages the beginning of a sequence that is empty.
  void Adopt(int sequence, absl::Span<const int32_t> pages);

  // Called when pages are wanting, with their number: releases what is held for later use only.
  void set_reclaim(std::function<void(int64_t)> reclaim) { reclaim_ = std::move(reclaim); }

  int64_t free_tokens() const { return static_cast<int64_t>(free_pages_.size()) * kPageTokens; }
  int64_t total_tokens() const { return page_count_ * kPageTokens; }

 protected:
  // Copies a page's keys and values of all layers, before anything later is written to `to`.
  virtual void CopyPage(int32_t from, int32_t to) = 0;

  int64_t page_count() const { return page_count_; }
  int32_t PageOf(int sequence, int64_t position) const {
    return sequences_[sequence][position / kPageTokens];
  }

 private:
  // First page of a range that it may have to copy, and pages that the sequence must have.
  static int64_t FirstPage(const Range& range) { return range.begin / kPageTokens; }
  static int64_t PagesFor(int64_t length) { return (length + kPageTokens - 1) / kPageTokens; }
  int32_t TakePage();

  const int64_t page_count_;
  std::vector<int32_t> holders_;  // of each page: sequences and Hold calls
  std::vector<int32_t> free_pages_;
  std::vector<std::vector<int32_t>> sequences_;  // page table of each sequence
  std::vector<int> free_sequences_;
  std::function<void(int64_t)> reclaim_;
};

}  // namespace unlearn

#endif  // OFFSET_MODEL_KV_PAGES_H_
