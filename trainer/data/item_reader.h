#ifndef TRAINER_DATA_ITEM_READER_H_
#define TRAINER_DATA_ITEM_READER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/unlearn/v1/deletion.pb.h"

namespace unlearn {

struct ItemReaderLimits {
  size_t max_file_bytes = 256u << 20;
  size_t max_line_bytes = 1u << 20;
  size_t max_items = 100000;
};

// Reads items from JSON lines, one object a line, in file order: `question` with an optional
// `answer` (without one the request is answer-free), `paraphrased_question`, `paraphrased_answer`,
// `perturbed_answer` (a string or a list), `value`; or `text` instead of all these. These are also
// the files of TOFU. Other fields (a person, a kind) and empty lines are ignored; null is as good
// as missing. A byte-order mark and CRLF are accepted.
//
// INVALID_ARGUMENT with `FILE:LINE:`, the field and what is wrong, never the text; the same for a
// file without items or beyond a limit. NOT_FOUND, PERMISSION_DENIED for the file itself.
absl::StatusOr<std::vector<v1::Item>> ReadItems(const std::string& path,
                                                const ItemReaderLimits& limits = {});

}  // namespace unlearn

#endif  // TRAINER_DATA_ITEM_READER_H_
