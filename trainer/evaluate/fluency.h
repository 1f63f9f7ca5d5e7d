#ifndef TRAINER_EVALUATE_FLUENCY_H_
#define TRAINER_EVALUATE_FLUENCY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace unlearn {

// Whether an answer reads like one: at least three words (FoldedWords without symbols), and at most
// 20 % of its runs of four words stood in it before. Catches the two ways in which unlearning
// breaks a model, silence and loops; it says nothing about grammar or sense. Thread-safe.
bool IsFluent(absl::string_view answer);

// The share of fluent answers. INVALID_ARGUMENT when there is none.
absl::StatusOr<double> FluentShare(absl::Span<const std::string> answers);

}  // namespace unlearn

#endif  // TRAINER_EVALUATE_FLUENCY_H_
