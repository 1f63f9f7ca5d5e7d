#ifndef TOOLS_PRETRAIN_PRETRAIN_DATA_H_
#define TOOLS_PRETRAIN_PRETRAIN_DATA_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/text/tokenizer.h"
#include "trainer/train/encoded_item.h"

namespace unlearn {

// Every training sequence of the files, in file order. JSONL gives one item a line; a .txt file is
// cut into windows of `context` tokens. Errors name file and line.
absl::StatusOr<std::vector<EncodedItem>> ReadPretrainData(const std::vector<std::string>& files,
                                                          const Tokenizer& tokenizer,
                                                          const PromptTemplate& format, int32_t eos,
                                                          int64_t context);

// One epoch's batches: indices into `items`, at most `batch_tokens` padded tokens each, of similar
// lengths, in an order drawn from (seed, epoch).
std::vector<std::vector<size_t>> EpochBatches(const std::vector<EncodedItem>& items,
                                              int64_t batch_tokens, uint64_t seed, int64_t epoch);

}  // namespace unlearn

#endif  // TOOLS_PRETRAIN_PRETRAIN_DATA_H_
