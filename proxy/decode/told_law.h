#ifndef PROXY_DECODE_TOLD_LAW_H_
#define PROXY_DECODE_TOLD_LAW_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace unlearn {

// Of what M's server told. INTERNAL for an id beyond the tokenizer's `tokens`: it stands for no
// token.
absl::Status CheckToldIds(absl::Span<const int32_t> ids, int64_t tokens);

}  // namespace unlearn

#endif  // PROXY_DECODE_TOLD_LAW_H_
