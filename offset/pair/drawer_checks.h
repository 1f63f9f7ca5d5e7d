#ifndef OFFSET_PAIR_DRAWER_CHECKS_H_
#define OFFSET_PAIR_DRAWER_CHECKS_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace unlearn {

// What all kinds of EnsembleDrawer refuse, in the same words.
inline absl::Status CheckSlots(absl::Span<const int> slots, size_t count) {
  for (const int slot : slots) {
    if (slot < 0 || static_cast<size_t>(slot) >= count) {
      return absl::InvalidArgumentError(
          absl::StrCat("slot ", slot, " of a drawer that has ", count, " slots"));
    }
  }
  return absl::OkStatus();
}

// M's rows, `numbers` in all.
inline absl::Status CheckStagedRows(absl::Span<const int> slots, size_t numbers, int64_t tokens) {
  if (slots.empty()
          ? numbers == 0
          : numbers % slots.size() == 0 && static_cast<int64_t>(numbers / slots.size()) >= tokens) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("M's rows have ", numbers, " logits for ",
                                                 slots.size(), " slots of ", tokens, " tokens"));
}

inline absl::Status CheckDeltas(absl::Span<const int> slots, int64_t rows, int64_t columns,
                                int64_t vocab) {
  if (rows >= static_cast<int64_t>(slots.size()) && columns == vocab) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("deltas [", rows, ", ", columns, "] for ", slots.size(), " slots of ", vocab));
}

inline absl::Status CheckDrawerShape(int64_t tokens, int64_t vocab, int slots) {
  if (tokens >= 1 && vocab >= tokens && slots >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a drawer of ", slots, " slots for ", tokens, " of ", vocab, " tokens"));
}

inline absl::Status CheckForced(int32_t token, int64_t tokens) {
  if (token >= 0 && token < tokens) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("token id ", token, " to score, of ", tokens, " ids"));
}

}  // namespace unlearn

#endif  // OFFSET_PAIR_DRAWER_CHECKS_H_
