#ifndef OFFSET_TEXT_TOKENIZER_FILES_H_
#define OFFSET_TEXT_TOKENIZER_FILES_H_

#include <string>

#include "absl/status/status.h"

namespace unlearn {

// Copies what Tokenizer::Load(path) reads into `folder`, under the names that a model folder has:
// tokenizer.json; or tokenizer.model with the tokenizer_config.json and added_tokens.json beside
// it. Errors of reading and writing.
absl::Status CopyTokenizerFiles(const std::string& path, const std::string& folder);

}  // namespace unlearn

#endif  // OFFSET_TEXT_TOKENIZER_FILES_H_
