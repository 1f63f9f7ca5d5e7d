#ifndef OFFSET_TEXT_BPE_MODEL_H_
#define OFFSET_TEXT_BPE_MODEL_H_

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "offset/text/word_cache.h"

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
  // by_character: no merge has this character after another one, so a text may be cut before each
  // run of it and the parts merged apart, with the same ids and much less to look at. Empty:
  // unknown or not so. See CanCutBefore.
  std::string cut_before;
};

// Whether `character` stands in `token` only at its start or after itself.
bool CanCutBefore(absl::string_view character, absl::string_view token);

// Byte-pair merging of one word. Immutable and thread-safe.
class BpeModel {
 public:
  explicit BpeModel(BpeModelParts parts) : parts_(std::move(parts)) {}

  // Appends the ids of `word` (raw bytes of one pre-tokenized piece). Time n log n in its length.
  // `cache` belongs to this model and this call of Encode.
  void Encode(absl::string_view word, WordCache* cache, std::vector<int32_t>* ids) const;

 private:
  void EncodePart(absl::string_view word, WordCache* cache, std::vector<int32_t>* ids) const;
  void AppendSymbols(absl::string_view word, std::vector<int32_t>* ids) const;
  // Merges the ids from `first` on.
  void MergeFrom(size_t first, std::vector<int32_t>* ids) const;
  void MergeFew(size_t first, std::vector<int32_t>* ids) const;
  void MergeMany(size_t first, std::vector<int32_t>* ids) const;
  const BpeMerge* Find(int32_t left, int32_t right) const {
    const auto found = parts_.merges.find(BpePair(left, right));
    return found == parts_.merges.end() ? nullptr : &found->second;
  }

  const BpeModelParts parts_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_BPE_MODEL_H_
