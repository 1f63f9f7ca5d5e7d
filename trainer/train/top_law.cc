#include "trainer/train/top_law.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/combine/sampler.h"
#include "offset/combine/verify/full_delta.h"

namespace unlearn {

absl::StatusOr<TopLaw> TopLaw::Create(const TopRow& top, const UpstreamInfo& model,
                                      int64_t tokens) {
  for (const int32_t id : top.ids) {
    if (id < tokens) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "M gave probability to id ", id, ", which stands for no token of the tokenizer's ", tokens,
        "; is it the model of this tokenizer?"));
  }
  // The normaliser's error is common to all, so each log-prob is off by no more than both.
  const double error = model.logprob_error + model.normaliser_error;
  TopLogprobs told;
  told.ids = top.ids;
  told.logprobs = top.logprobs;
  told.vocabulary = static_cast<int32_t>(tokens);
  told.error = error;
  absl::StatusOr<ModelKnowledge> knowledge = ModelKnowledge::Create(told);
  if (!knowledge.ok()) return absl::FailedPreconditionError(knowledge.status().message());

  TopLaw law(*std::move(knowledge));
  double mass = 0;
  for (const double logprob : top.logprobs) {
    mass += std::exp(logprob);
    law.logits_.push_back(static_cast<float>(logprob - top.logprobs.front()));
  }
  // What the server's rounding hides counts as that rounding, so that no answer that an objective
  // asks for is impossible.
  const Interval possible = law.knowledge_.unknown_mass();
  const double left = std::clamp(std::max(1 - mass, error), possible.lo, possible.hi);
  law.other_logit_ =
      left > 0
          ? static_cast<float>(std::log(left / law.knowledge_.unknown()) - top.logprobs.front())
          : -std::numeric_limits<float>::infinity();
  return law;
}

absl::StatusOr<Certificate> TopLaw::MostLikely(absl::Span<const float> delta, double alpha) const {
  // Logits are relative to the first's, which is a common shift.
  ASSIGN_OR_RETURN(const FullDelta pair,
                   KnowFullDelta(delta, knowledge_.vocabulary(), alpha, logits_.back()));
  return CertifyToken(knowledge_, pair.knowledge, SamplingOptions(), NoiseKey(),
                      /*score_error=*/0);
}

void FillRow(absl::Span<const int32_t> ids, absl::Span<const float> logits, float other_logit,
             int64_t tokens, absl::Span<float> row) {
  std::fill(row.begin(), row.begin() + tokens, other_logit);
  std::fill(row.begin() + tokens, row.end(), -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < ids.size(); ++i) row[ids[i]] = logits[i];
}

}  // namespace unlearn
