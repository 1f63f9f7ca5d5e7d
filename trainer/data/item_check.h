#ifndef TRAINER_DATA_ITEM_CHECK_H_
#define TRAINER_DATA_ITEM_CHECK_H_

#include <cstddef>

#include "absl/status/status.h"
#include "proto/unlearn/v1/deletion.pb.h"

namespace unlearn {

struct SubmitLimits {
  int max_items = 100000;              // forget and retain together
  size_t max_field_bytes = 256 << 10;  // of one text
  size_t max_total_bytes = 48 << 20;   // of all texts; the message must fit the server's limit
  int max_steps = 1000000;
};

// Whether one item can be trained on: a question (with or without an answer) or a text, not both;
// nothing that belongs to a question without one; valid UTF-8; no field beyond the limits.
// INVALID_ARGUMENT naming the field, never its text.
absl::Status CheckItem(const v1::Item& item, const SubmitLimits& limits = {});

// OK, or INVALID_ARGUMENT naming `forget[3].answer` and what is wrong with it.
absl::Status CheckSubmitRequest(const v1::SubmitRequest& request, const SubmitLimits& limits = {});

// The part of it that Retry can replace; paths start with `settings`.
absl::Status CheckTrainingSettings(const v1::TrainingSettings& settings,
                                   const SubmitLimits& limits = {});

}  // namespace unlearn

#endif  // TRAINER_DATA_ITEM_CHECK_H_
