#ifndef OFFSET_TEXT_TOKENIZER_JSON_H_
#define OFFSET_TEXT_TOKENIZER_JSON_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "offset/text/added_tokens.h"
#include "offset/text/bpe_model.h"
#include "offset/text/json_node.h"
#include "offset/text/normalizer.h"
#include "offset/text/pre_tokenizer.h"

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

// The contents of a tokenizer.json, checked.
struct TokenizerParts {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  BpeModelParts model;
  TokenDecoding decoding;
  SequenceTemplate sequence_template;
  std::vector<AddedToken> added_tokens;
  // The written form of every id; nullopt for an id that stands for nothing.
  std::vector<std::optional<std::string>> written;
  // The reverse.
  absl::flat_hash_map<std::string, int32_t> ids;
};

// Reads tokenizer.json: byte-level BPE as GPT-2, Llama 3 and Qwen2 use it, and BPE over characters
// with byte fallback as Llama 2, Mistral and Gemma do. INVALID_ARGUMENT for a
// file that contradicts itself, UNIMPLEMENTED for a component that would change ids or text and is
// not known here; both name `origin` and the JSON path.
absl::StatusOr<TokenizerParts> ParseTokenizerJson(absl::string_view json,
                                                  const std::string& origin);

// The components, each from its own member of the document (tokenizer_json_steps.cc).
absl::StatusOr<Normalizer> ParseNormalizer(const JsonNode& node);
// `byte_level` becomes whether it rewrites text as bytes.
absl::StatusOr<PreTokenizer> ParsePreTokenizer(const JsonNode& node, bool* byte_level);
absl::StatusOr<TokenDecoding> ParseDecoder(const JsonNode& node, bool byte_level);
absl::StatusOr<SequenceTemplate> ParsePostProcessor(const JsonNode& node);

}  // namespace unlearn

#endif  // OFFSET_TEXT_TOKENIZER_JSON_H_
