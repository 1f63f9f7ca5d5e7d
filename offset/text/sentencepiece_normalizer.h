#ifndef OFFSET_TEXT_SENTENCEPIECE_NORMALIZER_H_
#define OFFSET_TEXT_SENTENCEPIECE_NORMALIZER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "offset/text/byte_trie.h"
#include "offset/text/sentencepiece_file.h"

namespace unlearn {

// Rewrites text as the normalizer_spec of a SentencePiece model says: its compiled rules (NFKC and
// the like), spaces made one or kept, and each space as U+2581. Immutable and thread-safe.
class SentencePieceNormalizer {
 public:
  // INVALID_ARGUMENT when the compiled rules are damaged, or one is for more than 512 bytes, or
  // makes more of them.
  static absl::StatusOr<SentencePieceNormalizer> Create(const SentencePieceFile& file);

  // `text` is valid UTF-8. `continues`: it goes on from another text, so that no space is put
  // before it and its first spaces are kept. RESOURCE_EXHAUSTED when the rules make it more than 33
  // times as long (and more than a few KB).
  absl::StatusOr<std::string> Apply(absl::string_view text, bool continues) const;

 private:
  // What the start of `text` (not empty) becomes, and how many bytes of it: a user-defined piece,
  // as it is; else the longest rule's replacement; else the first character.
  absl::string_view Prefix(absl::string_view text, size_t* length) const;

  // A double array (Darts-clone's layout) from texts to places in replacements_, where each
  // replacement ends with a NUL.
  std::vector<uint32_t> units_;
  std::string replacements_;
  ByteTrie user_defined_;
  bool add_dummy_prefix_ = true;
  bool remove_extra_whitespaces_ = true;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_SENTENCEPIECE_NORMALIZER_H_
