#include "proxy/decode/streamed_position.h"

#include <algorithm>
#include <utility>

#include "offset/base/status_macros.h"
#include "offset/combine/combiner.h"
#include "offset/combine/verify/full_delta.h"
#include "offset/combine/verify/model_knowledge.h"
#include "offset/combine/verify/stream_row.h"
#include "offset/combine/verify/stream_verifier.h"
#include "proxy/decode/certified_draw.h"
#include "proxy/decode/told_law.h"
#include "proxy/upstream/told_row.h"

namespace unlearn {
namespace {

// As if the list were the whole law.
absl::StatusOr<StreamVerdict> VerifyTold(const SampledRow& row, absl::Span<const float> delta,
                                         int64_t tokens, double alpha,
                                         const SamplingOptions& sampling, const StreamDraw& draw,
                                         absl::Span<const int32_t> earlier) {
  const std::vector<float> model = ToldRow(row.top, tokens);
  std::vector<float> ensemble(tokens);
  RETURN_IF_ERROR(Combine(model, delta.subspan(0, tokens), alpha, absl::MakeSpan(ensemble)));
  return VerifyStreamedRow(model, ensemble, sampling, row.id, draw, earlier);
}

void Decide(const StreamVerdict& verdict, StreamedToken& result) {
  result.decided = verdict.outcome != StreamOutcome::kUndecided;
  result.accepted = verdict.outcome == StreamOutcome::kAccepted;
  result.more_helps = !result.decided;
  result.truncated_mass = verdict.truncated_mass;
  if (!result.decided) return;
  result.token.id = verdict.token;
  result.token.logprob = static_cast<float>((verdict.logprob.lo + verdict.logprob.hi) / 2);
  result.logprob_error = (verdict.logprob.hi - verdict.logprob.lo) / 2;
}

}  // namespace

absl::StatusOr<StreamedToken> StreamedPosition::Verify(const SampledRow& row,
                                                       const UpstreamInfo& model,
                                                       absl::Span<const float> delta,
                                                       int64_t tokens, double alpha,
                                                       const SamplingOptions& sampling) {
  RETURN_IF_ERROR(CheckToldIds({row.id}, tokens));
  RETURN_IF_ERROR(CheckToldIds(row.top.ids, tokens));
  StreamedToken result;
  if (row.top.ids.empty()) {
    result.more_helps = true;
    result.truncated_mass = 1;
    return result;
  }
  if (sampling.temperature == 0) {
    // Nothing is drawn: the most likely token stands, whatever M's stream was.
    ASSIGN_OR_RETURN(const CertifiedDraw draw,
                     DrawFromTop(row.top, model, delta, tokens, alpha, sampling, NoiseKey()));
    result.decided = draw.decided;
    result.more_helps = draw.more_helps;
    result.accepted = draw.decided && draw.token.id == row.id;
    result.token = draw.token;
    result.logprob_error = draw.logprob_error;
    result.truncated_mass = draw.truncated_mass;
    return result;
  }
  TopLogprobs told;
  told.ids = row.top.ids;
  told.logprobs = row.top.logprobs;
  told.vocabulary = static_cast<int32_t>(tokens);
  // What the normaliser is off by moves each mass, and acceptance is about masses.
  told.error = model.logprob_error + model.normaliser_error;
  const double least = row.top.logprobs.back();
  if (std::find(row.top.ids.begin(), row.top.ids.end(), row.id) == row.top.ids.end()) {
    // A longer list of the same position may come from another evaluation of M, which is off by
    // the server's own noise.
    told.sampled = TokenLogprob{row.id, std::min(row.logprob, least)};
  }
  const absl::StatusOr<ModelKnowledge> knowledge = ModelKnowledge::Create(told);
  if (!knowledge.ok()) return absl::InternalError(knowledge.status().message());
  ASSIGN_OR_RETURN(const FullDelta pair,
                   KnowFullDelta(delta, tokens, alpha, std::min(least, row.logprob)));
  std::vector<int32_t> earlier;
  for (const int32_t id : earlier_) {
    if (knowledge->IndexOf(id) >= 0) earlier.push_back(id);
  }
  ASSIGN_OR_RETURN(const StreamVerifier verifier,
                   StreamVerifier::Create(*knowledge, pair.knowledge, sampling, earlier));
  ASSIGN_OR_RETURN(StreamVerdict verdict, verifier.Verify(row.id, draw_));
  if (verdict.outcome == StreamOutcome::kUndecided &&
      static_cast<int64_t>(row.top.ids.size()) == tokens) {
    // Nothing more can be told, so the law is what the list says, its errors included.
    ASSIGN_OR_RETURN(verdict, VerifyTold(row, delta, tokens, alpha, sampling, draw_, earlier));
  }
  Decide(verdict, result);
  if (!result.decided) earlier_.assign(knowledge->ids().begin(), knowledge->ids().end());
  return result;
}

absl::StatusOr<StreamedToken> StreamedPosition::VerifyTruncated(
    const SampledRow& row, absl::Span<const float> delta, int64_t tokens, double alpha,
    const SamplingOptions& sampling) const {
  SampledRow told = row;
  if (std::find(told.top.ids.begin(), told.top.ids.end(), row.id) == told.top.ids.end()) {
    told.top.ids.push_back(row.id);
    told.top.logprobs.push_back(row.logprob);
  }
  StreamedToken result;
  if (sampling.temperature == 0) {
    ASSIGN_OR_RETURN(result.token,
                     DrawTruncated(told.top, delta, tokens, alpha, sampling, NoiseKey()));
    result.decided = true;
    result.accepted = result.token.id == row.id;
    return result;
  }
  ASSIGN_OR_RETURN(const StreamVerdict verdict,
                   VerifyTold(told, delta, tokens, alpha, sampling, draw_, {}));
  Decide(verdict, result);
  return result;
}

}  // namespace unlearn
