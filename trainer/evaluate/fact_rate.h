#ifndef TRAINER_EVALUATE_FACT_RATE_H_
#define TRAINER_EVALUATE_FACT_RATE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "trainer/evaluate/clustered_interval.h"

namespace unlearn {

// Whether the answer holds `value`, the secret: its words (FoldedWords with symbols), one after
// another and whole. "Oslo" is in "She lives in OSLO." and in "Oslo-based", not in "Oslobad". An
// answer that names the value to deny it counts as well. INVALID_ARGUMENT, without the text, when
// no word is left of the value.
absl::StatusOr<bool> ContainsFact(absl::string_view answer, absl::string_view value);

// One question that was put to the model. Views are only read during the call.
struct FactItem {
  absl::string_view answer;
  absl::string_view value;
  absl::string_view person;  // items of one person rise and fall together
};

// The share of items whose answer holds the value, with an interval clustered by person.
// INVALID_ARGUMENT, with the item's index and never its text, when there is no item or a value
// has no word.
absl::StatusOr<ClusteredInterval> FactRate(absl::Span<const FactItem> items, uint64_t seed);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_FACT_RATE_H_
