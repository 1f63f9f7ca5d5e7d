#ifndef OFFSET_TEXT_TEXT_GROWTH_H_
#define OFFSET_TEXT_TEXT_GROWTH_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace unlearn {

// Unicode's own forms make a text 11 times as long at most, and real replacements 3 times; but a
// file may say that each character becomes a page.
inline constexpr size_t kMaxGrowth = 33;
inline constexpr size_t kMaxExtraBytes = 4096;

// RESOURCE_EXHAUSTED when a tokenizer's rules made more than that of a text; sizes in bytes.
inline absl::Status CheckGrowth(size_t before, size_t after) {
  if (after <= kMaxExtraBytes + kMaxGrowth * before) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the tokenizer's normalizer makes ", after, " bytes of a text of ", before,
                   ", more than is allowed; are the tokenizer's files sound?"));
}

}  // namespace unlearn

#endif  // OFFSET_TEXT_TEXT_GROWTH_H_
