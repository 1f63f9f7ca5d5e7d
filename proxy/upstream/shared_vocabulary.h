#ifndef PROXY_UPSTREAM_SHARED_VOCABULARY_H_
#define PROXY_UPSTREAM_SHARED_VOCABULARY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "offset/text/tokenizer.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// The pair must speak M's language, or its offset would be added to other tokens.
// FAILED_PRECONDITION if the tokenizer of --pair (`pair`: its folder) is another one than M says it
// has, or if the pair has more rows of logits than M. A server that cannot tell its tokenizer is
// taken at the operator's word; that M stays the model it was is what its fingerprint is for.
absl::Status CheckSharedVocabulary(const UpstreamInfo& model, const std::string& pair,
                                   const std::string& tokenizer_fingerprint, int64_t pair_rows);

// Asks the server to tokenise a few public texts and compares with --pair's tokenizer.
// FAILED_PRECONDITION names the text. OK where the server cannot be asked.
absl::Status CompareTokenizers(Upstream& upstream, const std::string& pair,
                               const Tokenizer& tokenizer);

}  // namespace unlearn

#endif  // PROXY_UPSTREAM_SHARED_VOCABULARY_H_
