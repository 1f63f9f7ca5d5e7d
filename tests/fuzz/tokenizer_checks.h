#ifndef TESTS_FUZZ_TOKENIZER_CHECKS_H_
#define TESTS_FUZZ_TOKENIZER_CHECKS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "offset/text/tokenizer.h"

namespace unlearn {

// What holds for any tokenizer, wherever it was read from.

// Encodes any bytes: INVALID_ARGUMENT for invalid UTF-8; else ids of the vocabulary, the same ones
// again. A text may be more than the tokenizer's pattern can bear: no ids then.
std::vector<int32_t> CheckEncode(const Tokenizer& tokenizer, const std::string& text);

// Decodes ids of the vocabulary, whole and as a stream; returns the text with special tokens.
std::string CheckDecode(const std::shared_ptr<const Tokenizer>& tokenizer,
                        const std::vector<int32_t>& ids);

// What holds for any tokenizer that was accepted: fixed texts and `texts` encode and decode, its
// ids decode, and so does the template that is put around a text.
void CheckTokenizer(const std::shared_ptr<const Tokenizer>& tokenizer,
                    const std::vector<std::string>& texts = {});

}  // namespace unlearn

#endif  // TESTS_FUZZ_TOKENIZER_CHECKS_H_
