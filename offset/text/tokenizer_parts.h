#ifndef OFFSET_TEXT_TOKENIZER_PARTS_H_
#define OFFSET_TEXT_TOKENIZER_PARTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "offset/text/added_tokens.h"
#include "offset/text/bpe_model.h"
#include "offset/text/normalizer.h"
#include "offset/text/pre_tokenizer.h"
#include "offset/text/sentencepiece_model.h"

namespace unlearn {

// What a sequence is wrapped in when special tokens are asked for.
struct SequenceTemplate {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
};

// How ids become text.
struct TokenDecoding {
  bool byte_level = true;  // tokens are written in the byte alphabet
  // Otherwise: what stands for a space in them; whether <0xXX> stands for a byte; how many spaces
  // at the very start of a text are left out, as many as encoding put there.
  std::string metaspace;
  bool byte_fallback = false;
  int strip_start = 0;
};

// Ids without a token, at most: tables are indexed by id, and a short file must not fill the
// memory.
inline constexpr int32_t kMaxHoles = 1 << 16;

// A tokenizer's files, checked.
struct TokenizerParts {
  // From text to ids: the steps of a tokenizer.json ...
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  BpeModelParts model;
  // ... or a SentencePiece model in their place, and whether each piece of text between added
  // tokens is encoded as if it stood alone, with a space before it.
  std::optional<SentencePieceModel> sentence_pieces;
  bool prefix_every_piece = true;

  TokenDecoding decoding;
  SequenceTemplate sequence_template;
  std::vector<AddedToken> added_tokens;
  std::vector<int32_t> special_ids;  // besides the special added tokens
  // The written form of every id; nullopt for an id that stands for nothing.
  std::vector<std::optional<std::string>> written;
  // The reverse.
  absl::flat_hash_map<std::string, int32_t> ids;
};

}  // namespace unlearn

#endif  // OFFSET_TEXT_TOKENIZER_PARTS_H_
