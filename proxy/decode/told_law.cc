#include "proxy/decode/told_law.h"

#include "absl/strings/str_cat.h"

namespace unlearn {

absl::Status CheckToldIds(absl::Span<const int32_t> ids, int64_t tokens) {
  for (const int32_t id : ids) {
    if (id >= 0 && id < tokens) continue;
    return absl::InternalError(absl::StrCat("M gave probability to id ", id,
                                            ", which stands for no token of the tokenizer's ",
                                            tokens, "; is it the model of this tokenizer?"));
  }
  return absl::OkStatus();
}

}  // namespace unlearn
