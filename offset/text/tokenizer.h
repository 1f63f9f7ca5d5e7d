#ifndef OFFSET_TEXT_TOKENIZER_H_
#define OFFSET_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "offset/text/added_tokens.h"
#include "offset/text/bpe_model.h"
#include "offset/text/normalizer.h"
#include "offset/text/pre_tokenizer.h"
#include "offset/text/sentencepiece_model.h"
#include "offset/text/tokenizer_parts.h"

namespace unlearn {

// Text to token ids and back, as a model's tokenizer.json defines it (byte-level BPE: GPT-2, Llama
// 3, Qwen2 and their kin; BPE with byte fallback: Llama 2, Mistral, Gemma) or its SentencePiece
// .model (unigram and BPE). Gives the ids that the Hugging Face library or SentencePiece gives, or
// refuses the file. Immutable after loading and thread-safe; nothing of a text is kept after a
// call.
class Tokenizer {
 public:
  // A tokenizer.json, a SentencePiece model (a name that ends with ".model"; see
  // ReadSentencePieceFolder), or a folder that holds tokenizer.json or else tokenizer.model. Errors
  // of reading the file, those of FromJson and of ReadSentencePieceFolder.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> Load(const std::string& path);

  // `origin` says in errors where the JSON came from. INVALID_ARGUMENT for a file that contradicts
  // itself, UNIMPLEMENTED for a component that is not supported; both name the JSON path.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromJson(absl::string_view json,
                                                                   const std::string& origin);

  // Added tokens (special ones included) that stand in the text become their ids;
  // `add_special_tokens` applies the post-processor's template (such as a BOS) around it.
  // INVALID_ARGUMENT with the byte offset when `text` is not valid UTF-8.
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                              bool add_special_tokens = false) const;

  // The ids of a text that goes on from another, such as an answer after its prompt: without the
  // space that some tokenizers put before a text, and without special tokens around it. So
  // Encode(a) and EncodeContinuation(b) together decode to what Encode(a) decodes to, and b.
  absl::StatusOr<std::vector<int32_t>> EncodeContinuation(absl::string_view text) const;

  // Ill-formed byte sequences become U+FFFD, so the result is valid UTF-8. INVALID_ARGUMENT for an
  // id that stands for no token, whether or not it would be skipped.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids,
                                     bool skip_special_tokens = true) const;

  // Spaces that Decode leaves out at the start of a text, where encoding had put them.
  int strip_start() const { return strip_start_; }

  // The largest id + 1. A model's output rows may be more (padding).
  int vocab_size() const { return static_cast<int>(tokens_.size()); }

  bool Contains(int32_t id) const;

  // The raw bytes that `id` adds to a text, not valid UTF-8 in general; empty for an unknown id.
  std::string TokenBytes(int32_t id) const;

  // By the form in the file: an added token's content, or a vocabulary entry (in the byte alphabet,
  // or with U+2581 for a space).
  std::optional<int32_t> TokenToId(absl::string_view token) const;

  // Whether Decode skips the id; false for an unknown one.
  bool IsSpecial(int32_t id) const;

  // Hex SHA-256 over, for each id from 0 to vocab_size() - 1: the id, the length of its bytes
  // (0xFFFFFFFF for an id without a token), both as 32 bits little-endian, and the bytes.
  // Equal for two tokenizers if and only if every id means the same text.
  std::string fingerprint() const { return fingerprint_; }

 private:
  struct Token {
    std::string bytes;
    bool known = false;
    bool special = false;
  };

  Tokenizer(TokenizerParts parts, AddedTokenMatcher raw_matcher,
            AddedTokenMatcher normalized_matcher);

  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromParts(TokenizerParts parts);
  absl::Status EncodeInto(absl::string_view text, PieceStart start,
                          std::vector<int32_t>* ids) const;
  std::string ComputeFingerprint() const;

  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  BpeModel model_;
  std::optional<SentencePieceModel> sentence_pieces_;  // in place of the three before
  bool prefix_every_piece_ = true;
  SequenceTemplate template_;
  int strip_start_ = 0;
  AddedTokenMatcher raw_matcher_;         // looks in the text as given
  AddedTokenMatcher normalized_matcher_;  // looks in the normalised text
  std::vector<Token> tokens_;             // by id
  absl::flat_hash_map<std::string, int32_t> ids_;
  std::string fingerprint_;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_TOKENIZER_H_
