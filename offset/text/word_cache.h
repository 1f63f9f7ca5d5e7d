#ifndef OFFSET_TEXT_WORD_CACHE_H_
#define OFFSET_TEXT_WORD_CACHE_H_

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace unlearn {

// The ids of short words that have come before. It lives for one call of Encode and is filled from
// that call's text alone, so that nothing of a text outlives its request. A word that falls on the
// place of another takes it over. Not thread-safe.
class WordCache {
 public:
  // `text_size`: bytes of the whole text; a short one gets few places, or none.
  explicit WordCache(size_t text_size) {
    if (text_size < 128) return;
    size_t places = 32;
    while (places < kMostPlaces && places * 8 < text_size) places *= 2;
    entries_.resize(places);
  }

  // Appends the word's ids if they are there.
  bool Find(absl::string_view word, std::vector<int32_t>* ids) const {
    if (entries_.empty() || word.size() > kLongestWord) return false;
    const Entry& entry = entries_[PlaceOf(word)];
    if (entry.length != word.size() ||
        std::memcmp(entry.word.data(), word.data(), word.size()) != 0) {
      return false;
    }
    ids->insert(ids->end(), entry.ids.data(), entry.ids.data() + entry.count);
    return true;
  }

  // Keeps the ids of `word` (not empty), if both are short.
  void Put(absl::string_view word, absl::Span<const int32_t> ids) {
    if (entries_.empty() || word.size() > kLongestWord || ids.size() > kMostIds) return;
    Entry& entry = entries_[PlaceOf(word)];
    entry.length = static_cast<uint8_t>(word.size());
    entry.count = static_cast<uint8_t>(ids.size());
    std::memcpy(entry.word.data(), word.data(), word.size());
    std::copy(ids.begin(), ids.end(), entry.ids.begin());
  }

 private:
  static constexpr size_t kMostPlaces = 16384;
  static constexpr size_t kLongestWord = 30;
  static constexpr size_t kMostIds = 8;

  struct Entry {         // 64 bytes
    uint8_t length = 0;  // 0: nothing is here
    uint8_t count = 0;
    std::array<char, kLongestWord> word;
    std::array<int32_t, kMostIds> ids;
  };

  size_t PlaceOf(absl::string_view word) const {
    return absl::Hash<absl::string_view>()(word) & (entries_.size() - 1);
  }

  std::vector<Entry> entries_;  // a power of two, or none
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_WORD_CACHE_H_
