#ifndef TOOLS_PRETRAIN_TOKENIZER_TEXT_H_
#define TOOLS_PRETRAIN_TOKENIZER_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace unlearn {

// The texts of training files as a tokenizer should see them: of JSONL, prompts and answers apart
// (an answer begins with its space), as training cuts them; of other files, the lines.
absl::StatusOr<std::vector<std::string>> TokenizerTexts(const std::vector<std::string>& files);

}  // namespace unlearn

#endif  // TOOLS_PRETRAIN_TOKENIZER_TEXT_H_
