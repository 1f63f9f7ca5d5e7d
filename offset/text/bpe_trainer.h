#ifndef OFFSET_TEXT_BPE_TRAINER_H_
#define OFFSET_TEXT_BPE_TRAINER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace unlearn {

struct BpeTrainerOptions {
  // Special tokens, the 256 bytes and merged tokens together. Fewer come out when no pair is left
  // that is frequent enough.
  int vocab_size = 0;
  // Get the ids from 0 on, in this order. Where they stand in the texts they are not trained on.
  std::vector<std::string> special_tokens;
  // A pair that occurs less often is not merged.
  int min_frequency = 2;
};

// Trains byte-level BPE (GPT-2's splitting pattern) and returns the text of a tokenizer.json, which
// Tokenizer and other programs load. The result depends on the counts of words alone, not on the
// order of the texts: the most frequent pair is merged first, of equals the one with the smaller
// ids. INVALID_ARGUMENT for options that cannot be met, and for a text that is not valid UTF-8
// (named by its index and byte offset).
absl::StatusOr<std::string> TrainByteLevelBpe(const std::vector<std::string>& texts,
                                              const BpeTrainerOptions& options);

}  // namespace unlearn

#endif  // OFFSET_TEXT_BPE_TRAINER_H_
