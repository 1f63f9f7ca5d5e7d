#include "proxy/decode/certified_draw.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/combine/combiner.h"
#include "offset/combine/verify/certificate.h"
#include "offset/combine/verify/full_delta.h"
#include "offset/combine/verify/model_knowledge.h"
#include "proxy/decode/told_law.h"
#include "proxy/upstream/told_row.h"

namespace unlearn {
namespace {

// What M's normaliser may be off by is common to all log-probs, so lowering them by it keeps every
// comparison and makes the rest's mass an upper bound: by all of it, or by as much as the rest can
// hold, which is at most the list's last probability each.
double CommonShift(const TopRow& top, int64_t tokens, double error) {
  if (top.ids.empty()) return 0;
  double most = static_cast<double>(tokens - static_cast<int64_t>(top.ids.size())) *
                std::exp(top.logprobs.back());
  for (const double logprob : top.logprobs) most += std::exp(logprob);
  return std::max(-error, std::min(error, std::log(most)));
}

}  // namespace

absl::StatusOr<CertifiedDraw> DrawFromTop(const TopRow& top, const UpstreamInfo& model,
                                          absl::Span<const float> delta, int64_t tokens,
                                          double alpha, const SamplingOptions& sampling,
                                          const NoiseKey& key) {
  RETURN_IF_ERROR(CheckToldIds(top.ids, tokens));
  std::vector<double> logprobs = top.logprobs;
  const double shift = CommonShift(top, tokens, model.normaliser_error);
  for (double& logprob : logprobs) logprob -= shift;
  TopLogprobs told;
  told.ids = top.ids;
  told.logprobs = logprobs;
  told.vocabulary = static_cast<int32_t>(tokens);
  told.error = model.logprob_error;
  absl::StatusOr<ModelKnowledge> knowledge = ModelKnowledge::Create(told);
  if (!knowledge.ok()) return absl::InternalError(knowledge.status().message());

  ASSIGN_OR_RETURN(const FullDelta pair,
                   KnowFullDelta(delta, tokens, alpha, logprobs.empty() ? 0 : logprobs.back()));
  const double score_error =
      sampling.temperature > 0
          ? ScoreRounding(pair.largest_logit + pair.largest_effect, sampling.temperature)
          : 0;
  ASSIGN_OR_RETURN(const Certificate certificate,
                   CertifyToken(*knowledge, pair.knowledge, sampling, key, score_error));
  CertifiedDraw draw;
  draw.decided = certificate.decided;
  // Also where the rival is a known token: it may hang on what the others have whether that one is
  // in the nucleus.
  draw.more_helps = !certificate.decided && static_cast<int64_t>(top.ids.size()) < tokens;
  draw.truncated_mass = certificate.truncated_mass;
  if (draw.decided) {
    const Interval logprob = certificate.logprob;
    draw.token.id = certificate.token;
    draw.token.logprob = static_cast<float>((logprob.lo + logprob.hi) / 2);
    draw.logprob_error = (logprob.hi - logprob.lo) / 2 + model.normaliser_error;
  }
  return draw;
}

absl::StatusOr<SampledToken> DrawTruncated(const TopRow& top, absl::Span<const float> delta,
                                           int64_t tokens, double alpha,
                                           const SamplingOptions& sampling, const NoiseKey& key) {
  std::vector<float> ensemble(tokens);
  RETURN_IF_ERROR(
      Combine(ToldRow(top, tokens), delta.subspan(0, tokens), alpha, absl::MakeSpan(ensemble)));
  return SampleToken(ensemble, sampling, key);
}

}  // namespace unlearn
