#ifndef OFFSET_TEXT_TOKENIZER_JSON_H_
#define OFFSET_TEXT_TOKENIZER_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "offset/text/json_node.h"
#include "offset/text/tokenizer_parts.h"

namespace unlearn {

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
