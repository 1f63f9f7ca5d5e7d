#include "offset/combine/verify/draft_verifier.h"

#include "absl/strings/str_cat.h"

namespace unlearn {

absl::StatusOr<VerifiedDraft> VerifyDraft(absl::Span<const int32_t> drafted, EnsembleRow row,
                                          const SamplingOptions& options,
                                          absl::Span<const NoiseKey> keys) {
  if (absl::Status status = CheckSamplingOptions(options); !status.ok()) return status;
  if (keys.size() != drafted.size() + 1) {
    return absl::InvalidArgumentError(absl::StrCat(drafted.size(), " drafted tokens need ",
                                                   drafted.size() + 1, " noise keys, got ",
                                                   keys.size()));
  }
  VerifiedDraft verified;
  verified.tokens.reserve(keys.size());
  for (size_t place = 0; place < keys.size(); ++place) {
    const absl::StatusOr<absl::Span<const float>> logits = row(static_cast<int>(place));
    if (!logits.ok()) return logits.status();
    if (logits->empty()) {
      return absl::InvalidArgumentError(absl::StrCat("the ensemble's row ", place, " is empty"));
    }
    const bool extra = place == drafted.size();
    if (!extra && (drafted[place] < 0 || drafted[place] >= static_cast<int64_t>(logits->size()))) {
      return absl::InvalidArgumentError(absl::StrCat("drafted id ", drafted[place], " at place ",
                                                     place, " is outside the row of ",
                                                     logits->size(), " logits"));
    }
    verified.tokens.push_back(SampleToken(*logits, options, keys[place]));
    if (extra || verified.tokens.back().id != drafted[place]) break;
    ++verified.accepted;
  }
  return verified;
}

}  // namespace unlearn
