#include "proxy/upstream/step_check.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace unlearn {

absl::Status CheckStep(const UpstreamStep& step, int64_t length, int64_t max_context,
                       int64_t vocab_size) {
  const int64_t tokens = static_cast<int64_t>(step.token_ids.size());
  if (step.base_position < 0 || step.base_position > length) {
    return absl::InvalidArgumentError(absl::StrCat(
        "base_position ", step.base_position, " is not within the session's ", length, " tokens"));
  }
  if (step.base_position + tokens > max_context) {
    return absl::InvalidArgumentError(absl::StrCat("base_position ", step.base_position, " and ",
                                                   tokens, " token_ids exceed M's context of ",
                                                   max_context, " tokens"));
  }
  for (int64_t i = 0; i < tokens; ++i) {
    if (step.token_ids[i] < 0 || step.token_ids[i] >= vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("token_ids[", i, "]: ", step.token_ids[i],
                                                     " is outside M's vocabulary of ", vocab_size));
    }
  }
  if (tokens == 0 && step.positions == UpstreamStep::Positions::kLast) {
    return absl::InvalidArgumentError(
        "token_ids is empty, so there is no last position to give logits of; ask for no "
        "positions");
  }
  return absl::OkStatus();
}

absl::Status CheckSampling(const UpstreamSampling& sampling, int64_t length, int64_t max_context,
                           int64_t vocab_size, double least_temperature) {
  if (sampling.token_ids.empty()) {
    return absl::InvalidArgumentError("token_ids is empty: M draws after at least one token");
  }
  if (!std::isfinite(sampling.temperature) || sampling.temperature < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("temperature ", sampling.temperature, " is not 0 or a positive number"));
  }
  if (sampling.temperature > 0 && sampling.temperature < least_temperature) {
    return absl::InvalidArgumentError(absl::StrCat("temperature ", sampling.temperature,
                                                   ": M's server draws at none below ",
                                                   least_temperature, " but 0"));
  }
  if (sampling.max_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_tokens ", sampling.max_tokens, " is not at least 1"));
  }
  UpstreamStep step;
  step.base_position = sampling.base_position;
  step.token_ids = sampling.token_ids;
  return CheckStep(step, length, max_context, vocab_size);
}

}  // namespace unlearn
