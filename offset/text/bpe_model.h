#ifndef OFFSET_TEXT_BPE_MODEL_H_
#define OFFSET_TEXT_BPE_MODEL_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace unlearn {

// What a merge makes of an adjacent pair, and its place in the order of merges (lowest first).
struct BpeMerge {
  int32_t rank;
  int32_t id;
};

// An adjacent pair of ids as one key.
inline uint64_t BpePair(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

struct BpeModelParts {
  // Words are merged from characters, those without an id from their bytes; false: from bytes.
  bool by_character = false;
  // by_character: the id of each character that has one, by its UTF-8.
  absl::flat_hash_map<std::string, int32_t> characters;
  // The id of each single byte; -1 where the vocabulary lacks it.
  std::array<int32_t, 256> byte_ids;
  absl::flat_hash_map<uint64_t, BpeMerge> merges;
  // Raw bytes -> id, filled only for a model that takes whole words first (ignore_merges).
  absl::flat_hash_map<std::string, int32_t> whole_words;
  // Stands for a byte (a character) without an id; -1: it is dropped, as the format defines it.
  int32_t unknown_id = -1;
  // One unknown for a run of them instead of one for each.
  bool fuse_unknown = false;
};

// Byte-pair merging of one word. Immutable but for a bounded cache of words, which has its own
// locks: thread-safe.
class BpeModel {
 public:
  explicit BpeModel(BpeModelParts parts);

  // Appends the ids of `word` (raw bytes of one pre-tokenized piece). Time n log n in its length.
  void Encode(absl::string_view word, std::vector<int32_t>* ids) const;

 private:
  struct Shard {
    absl::Mutex mutex;
    absl::flat_hash_map<std::string, std::vector<int32_t>> words ABSL_GUARDED_BY(mutex);
  };

  std::vector<int32_t> Symbols(absl::string_view word) const;
  void Merge(std::vector<int32_t>* symbols) const;

  const BpeModelParts parts_;
  // Sharded by the word's hash, so that threads seldom meet.
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_BPE_MODEL_H_
