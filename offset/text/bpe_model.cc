#include "offset/text/bpe_model.h"

#include <array>
#include <limits>
#include <queue>
#include <utility>

#include "absl/strings/match.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

// Up to here, looking at all pairs again after each merge is faster than a queue.
constexpr size_t kFewSymbols = 32;

struct Symbol {
  int32_t id;
  int32_t previous;  // index, -1 at the start
  int32_t next;      // index, -1 at the end
  bool merged_away;
};

// A merge that was possible when it was queued.
struct Candidate {
  int32_t rank;
  int32_t position;
  int32_t id;
  // Lowest rank first, then leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

}  // namespace

bool CanCutBefore(absl::string_view character, absl::string_view token) {
  size_t at = 0;
  while (absl::StartsWith(token.substr(at), character)) at += character.size();
  return token.find(character, at) == absl::string_view::npos;
}

void BpeModel::Encode(absl::string_view word, WordCache* cache, std::vector<int32_t>* ids) const {
  if (!parts_.whole_words.empty()) {
    const auto whole = parts_.whole_words.find(word);
    if (whole != parts_.whole_words.end()) {
      ids->push_back(whole->second);
      return;
    }
  }
  const absl::string_view mark = parts_.cut_before;
  while (!mark.empty()) {
    size_t at = 0;
    while (absl::StartsWith(word.substr(at), mark)) at += mark.size();
    at = word.find(mark, at);
    if (at == absl::string_view::npos) break;
    EncodePart(word.substr(0, at), cache, ids);
    word.remove_prefix(at);
  }
  EncodePart(word, cache, ids);
}

void BpeModel::EncodePart(absl::string_view word, WordCache* cache,
                          std::vector<int32_t>* ids) const {
  if (word.empty() || cache->Find(word, ids)) return;
  const size_t first = ids->size();
  AppendSymbols(word, ids);
  MergeFrom(first, ids);
  cache->Put(word, absl::MakeConstSpan(*ids).subspan(first));
}

void BpeModel::AppendSymbols(absl::string_view word, std::vector<int32_t>* ids) const {
  bool after_unknown = false;
  const auto add_unknown = [&] {
    if (parts_.unknown_id >= 0 && !(after_unknown && parts_.fuse_unknown)) {
      ids->push_back(parts_.unknown_id);
    }
    after_unknown = true;
  };
  while (!word.empty()) {
    const size_t length = parts_.by_character ? NextUtf8(word).length : 1;
    const absl::string_view part = word.substr(0, length);
    word.remove_prefix(length);
    if (parts_.by_character) {
      const auto found = parts_.characters.find(part);
      if (found != parts_.characters.end()) {
        ids->push_back(found->second);
        after_unknown = false;
        continue;
      }
    }
    bool known = true;
    for (const char byte : part) known = known && parts_.byte_ids[static_cast<uint8_t>(byte)] >= 0;
    if (!known) {
      add_unknown();
      continue;
    }
    for (const char byte : part) ids->push_back(parts_.byte_ids[static_cast<uint8_t>(byte)]);
    after_unknown = false;
  }
}

void BpeModel::MergeFrom(size_t first, std::vector<int32_t>* ids) const {
  const size_t count = ids->size() - first;
  if (count < 2) return;
  if (count <= kFewSymbols) {
    MergeFew(first, ids);
  } else {
    MergeMany(first, ids);
  }
}

void BpeModel::MergeFew(size_t first, std::vector<int32_t>* ids) const {
  int32_t* const symbols = ids->data() + first;
  size_t count = ids->size() - first;
  constexpr BpeMerge kNone = {std::numeric_limits<int32_t>::max(), -1};
  std::array<BpeMerge, kFewSymbols> merges;  // of each symbol with the next
  const auto look = [&](size_t i) {
    const BpeMerge* merge = Find(symbols[i], symbols[i + 1]);
    merges[i] = merge == nullptr ? kNone : *merge;
  };
  for (size_t i = 0; i + 1 < count; ++i) look(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].id < 0) break;
    symbols[best] = merges[best].id;
    --count;
    for (size_t i = best + 1; i < count; ++i) symbols[i] = symbols[i + 1];
    for (size_t i = best + 1; i + 1 < count; ++i) merges[i] = merges[i + 1];
    if (best > 0) look(best - 1);
    if (best + 1 < count) look(best);
  }
  ids->resize(first + count);
}

void BpeModel::MergeMany(size_t first, std::vector<int32_t>* ids) const {
  const int32_t* const start = ids->data() + first;
  const int32_t count = static_cast<int32_t>(ids->size() - first);
  std::vector<Symbol> symbols(count);
  std::vector<Candidate> initial;
  for (int32_t i = 0; i < count; ++i) {
    symbols[i] = {start[i], i - 1, i + 1 < count ? i + 1 : -1, false};
    if (i + 1 == count) continue;
    if (const BpeMerge* merge = Find(start[i], start[i + 1])) {
      initial.push_back({merge->rank, i, merge->id});
    }
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(initial));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.position];
    if (left.merged_away || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    // The pair may have changed since it was queued.
    const BpeMerge* current = Find(left.id, right.id);
    if (current == nullptr || current->id != top.id) continue;
    left.id = top.id;
    right.merged_away = true;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = top.position;
    if (left.previous >= 0) {
      if (const BpeMerge* merge = Find(symbols[left.previous].id, left.id)) {
        queue.push({merge->rank, left.previous, merge->id});
      }
    }
    if (left.next >= 0) {
      if (const BpeMerge* merge = Find(left.id, symbols[left.next].id)) {
        queue.push({merge->rank, top.position, merge->id});
      }
    }
  }
  ids->resize(first);
  for (int32_t i = 0; i >= 0; i = symbols[i].next) ids->push_back(symbols[i].id);
}

}  // namespace unlearn
