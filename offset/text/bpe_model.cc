#include "offset/text/bpe_model.h"

#include <algorithm>
#include <queue>
#include <utility>

#include "absl/hash/hash.h"
#include "offset/text/utf8.h"

namespace unlearn {
namespace {

constexpr size_t kShards = 16;
// Together at most 32k words of at most 64 bytes: a few MB.
constexpr size_t kWordsPerShard = 2048;
constexpr size_t kLongestCachedWord = 64;

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

BpeModel::BpeModel(BpeModelParts parts)
    : parts_(std::move(parts)), shards_(std::make_unique<Shard[]>(kShards)) {}

void BpeModel::Encode(absl::string_view word, std::vector<int32_t>* ids) const {
  const auto whole = parts_.whole_words.find(word);
  if (whole != parts_.whole_words.end()) {
    ids->push_back(whole->second);
    return;
  }
  if (word.size() > kLongestCachedWord) {
    std::vector<int32_t> symbols = Symbols(word);
    Merge(&symbols);
    ids->insert(ids->end(), symbols.begin(), symbols.end());
    return;
  }
  Shard& shard = shards_[absl::Hash<absl::string_view>()(word) % kShards];
  {
    absl::MutexLock lock(&shard.mutex);
    const auto cached = shard.words.find(word);
    if (cached != shard.words.end()) {
      ids->insert(ids->end(), cached->second.begin(), cached->second.end());
      return;
    }
  }
  std::vector<int32_t> symbols = Symbols(word);
  Merge(&symbols);
  ids->insert(ids->end(), symbols.begin(), symbols.end());
  absl::MutexLock lock(&shard.mutex);
  if (shard.words.size() >= kWordsPerShard) shard.words.clear();
  shard.words.emplace(word, std::move(symbols));
}

std::vector<int32_t> BpeModel::Symbols(absl::string_view word) const {
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  bool after_unknown = false;
  const auto add_unknown = [&] {
    if (parts_.unknown_id >= 0 && !(after_unknown && parts_.fuse_unknown)) {
      symbols.push_back(parts_.unknown_id);
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
        symbols.push_back(found->second);
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
    for (const char byte : part) symbols.push_back(parts_.byte_ids[static_cast<uint8_t>(byte)]);
    after_unknown = false;
  }
  return symbols;
}

void BpeModel::Merge(std::vector<int32_t>* ids) const {
  const int32_t count = static_cast<int32_t>(ids->size());
  if (count < 2) return;
  std::vector<Symbol> symbols(count);
  std::vector<Candidate> initial;
  const auto find = [this](int32_t left, int32_t right) -> const BpeMerge* {
    const auto found = parts_.merges.find(BpePair(left, right));
    return found == parts_.merges.end() ? nullptr : &found->second;
  };
  for (int32_t i = 0; i < count; ++i) {
    symbols[i] = {(*ids)[i], i - 1, i + 1 < count ? i + 1 : -1, false};
    if (i + 1 == count) continue;
    if (const BpeMerge* merge = find((*ids)[i], (*ids)[i + 1])) {
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
    const BpeMerge* current = find(left.id, right.id);
    if (current == nullptr || current->id != top.id) continue;
    left.id = top.id;
    right.merged_away = true;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = top.position;
    if (left.previous >= 0) {
      if (const BpeMerge* merge = find(symbols[left.previous].id, left.id)) {
        queue.push({merge->rank, left.previous, merge->id});
      }
    }
    if (left.next >= 0) {
      if (const BpeMerge* merge = find(left.id, symbols[left.next].id)) {
        queue.push({merge->rank, top.position, merge->id});
      }
    }
  }
  ids->clear();
  for (int32_t i = 0; i >= 0; i = symbols[i].next) ids->push_back(symbols[i].id);
}

}  // namespace unlearn
