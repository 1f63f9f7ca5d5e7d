#ifndef OFFSET_TEXT_SENTENCEPIECE_MODEL_H_
#define OFFSET_TEXT_SENTENCEPIECE_MODEL_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "offset/text/added_tokens.h"
#include "offset/text/bpe_model.h"
#include "offset/text/byte_trie.h"
#include "offset/text/sentencepiece_file.h"
#include "offset/text/sentencepiece_normalizer.h"

namespace unlearn {

// The ids that SentencePiece gives a text, for its unigram and BPE models. Why not its own library:
// the distribution's copy exports a protobuf of its own, so that a process with gRPC crashes or
// aborts, and its versions differ in ids; these are those of 0.2.3. Immutable and thread-safe.
class SentencePieceModel {
 public:
  // INVALID_ARGUMENT when the file contradicts itself.
  static absl::StatusOr<SentencePieceModel> Create(const SentencePieceFile& file);

  // Appends the ids of `text`, valid UTF-8. `continues`: it goes on from another text; nothing is
  // put before it. RESOURCE_EXHAUSTED as SentencePieceNormalizer says.
  absl::Status Encode(absl::string_view text, bool continues, std::vector<int32_t>* ids) const;

 private:
  explicit SentencePieceModel(SentencePieceNormalizer normalizer)
      : normalizer_(std::move(normalizer)) {}

  void FillUnigram(const SentencePieceFile& file);
  void FillBpe(const SentencePieceFile& file);
  void EncodeUnigram(absl::string_view text, std::vector<int32_t>* ids) const;
  void EncodeBpe(absl::string_view text, std::vector<int32_t>* ids) const;
  // A text without a piece: its bytes, or the unknown piece, once for a run (since `start`).
  void AppendUnknown(absl::string_view text, size_t start, std::vector<int32_t>* ids) const;

  SentencePieceNormalizer normalizer_;
  int32_t unknown_id_ = -1;
  bool byte_fallback_ = false;
  std::array<int32_t, 256> byte_ids_;

  // Unigram: the pieces, and for each id what it adds to a path's score.
  ByteTrie pieces_;
  std::vector<float> scores_;
  float unknown_score_ = 0;

  // BPE.
  std::optional<BpeModel> bpe_;
  AddedTokenMatcher user_defined_;
  // Ids from first_symbol_ on stand for characters that have no piece; see FillBpe.
  int32_t first_symbol_ = 0;
  std::vector<std::string> symbols_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_SENTENCEPIECE_MODEL_H_
