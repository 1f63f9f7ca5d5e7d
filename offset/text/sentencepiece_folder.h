#ifndef OFFSET_TEXT_SENTENCEPIECE_FOLDER_H_
#define OFFSET_TEXT_SENTENCEPIECE_FOLDER_H_

#include <string>

#include "absl/status/statusor.h"
#include "offset/text/tokenizer_parts.h"

namespace unlearn {

// Reads a SentencePiece .model and what lies beside it, as models of the Llama 2 and T5 kind are
// published without a tokenizer.json:
// - tokenizer_config.json: added_tokens_decoder, bos_token, eos_token, add_bos_token (default: true
//   where the model has such a piece), add_eos_token (default: false), legacy (false: only a text's
//   start gets a space before it, not what follows an added token; default: true);
// - added_tokens.json, where the former lists no added tokens.
// Without them no text is looked for as a token, and control pieces are special. INVALID_ARGUMENT
// or UNIMPLEMENTED as ParseSentencePieceFile says, or with the JSON path; errors of reading.
absl::StatusOr<TokenizerParts> ReadSentencePieceFolder(const std::string& model_path);

}  // namespace unlearn

#endif  // OFFSET_TEXT_SENTENCEPIECE_FOLDER_H_
