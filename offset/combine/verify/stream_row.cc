#include "offset/combine/verify/stream_row.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

// log of the sum over `kept` (all if empty) of exp(logits / temperature).
double LogSumExpAt(absl::Span<const float> logits, double temperature,
                   const std::vector<int32_t>& kept) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  const auto add = [&](float logit) { sum += std::exp((logit - highest) / temperature); };
  if (kept.empty()) {
    for (const float logit : logits) add(logit);
  } else {
    for (const int32_t id : kept) add(logits[id]);
  }
  return highest / temperature + std::log(sum);
}

}  // namespace

absl::StatusOr<StreamVerdict> VerifyStreamedRow(absl::Span<const float> model,
                                                absl::Span<const float> ensemble,
                                                const SamplingOptions& options, int32_t sampled,
                                                const StreamDraw& draw,
                                                absl::Span<const int32_t> earlier) {
  if (absl::Status status = CheckSamplingOptions(options); !status.ok()) return status;
  const int32_t vocabulary = static_cast<int32_t>(model.size());
  if (ensemble.size() != model.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("M's row has ", model.size(), " logits, the ensemble's ", ensemble.size()));
  }
  if (sampled < 0 || sampled >= vocabulary || model[sampled] == -INFINITY) {
    return absl::InvalidArgumentError(
        absl::StrCat("M drew id ", sampled, ", to which its own row of ", vocabulary,
                     " logits gives no probability; check the upstream server"));
  }
  if (!(draw.uniform >= 0 && draw.uniform < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("uniform draw is ", draw.uniform, ", must be within [0, 1)"));
  }
  std::vector<bool> placed(vocabulary, false);
  for (const int32_t id : earlier) {
    if (id < 0 || id >= vocabulary || placed[id]) {
      return absl::InvalidArgumentError(
          absl::StrCat("id ", id, " of the earlier knowledge is twice there or outside the row of ",
                       vocabulary));
    }
    placed[id] = true;
  }
  const double at_one = LogSumExpAt(ensemble, 1, {});
  StreamVerdict verdict;
  const auto emit = [&](StreamOutcome outcome, int32_t token) {
    verdict.outcome = outcome;
    verdict.token = token;
    verdict.logprob = Interval::Point(ensemble[token] - at_one);
    return verdict;
  };
  if (options.temperature == 0) {
    const int32_t best = SampleToken(ensemble, options, draw.residual).id;
    verdict.rejected = best != sampled;
    verdict.acceptance = Interval::Point(verdict.rejected ? 0 : 1);
    return emit(verdict.rejected ? StreamOutcome::kReplaced : StreamOutcome::kAccepted, best);
  }

  const double temperature = options.temperature;
  const std::vector<int32_t> kept = KeptTokens(ensemble, options);
  std::vector<bool> in(vocabulary, kept.empty());
  for (const int32_t id : kept) in[id] = true;
  const double log_model = LogSumExpAt(model, temperature, {});
  const double log_ensemble = LogSumExpAt(ensemble, temperature, kept);
  // log p(v) / p_M(v) of a kept token.
  const auto log_ratio = [&](int32_t id) {
    return (static_cast<double>(ensemble[id]) - model[id]) / temperature -
           (log_ensemble - log_model);
  };
  const double ratio = in[sampled] ? std::exp(log_ratio(sampled)) : 0;
  const double acceptance = ratio >= 1 - 1e-12 ? 1 : ratio;
  verdict.acceptance = Interval::Point(acceptance);
  if (draw.uniform < acceptance) return emit(StreamOutcome::kAccepted, sampled);

  verdict.rejected = true;
  std::vector<int32_t> order(earlier.begin(), earlier.end());
  order.reserve(vocabulary);
  for (int32_t id = 0; id < vocabulary; ++id) {
    if (!placed[id]) order.push_back(id);
  }
  std::vector<double> residual(vocabulary, 0.0);  // by place in `order`
  std::vector<double> rest(vocabulary, 0.0);
  double sum = 0;
  int32_t highest = -1;
  double highest_share = -INFINITY;
  for (int32_t place = vocabulary; place-- > 0;) {
    const int32_t id = order[place];
    if (in[id] && id != sampled && model[id] > -INFINITY) {
      const double log_share = log_ratio(id);
      if (log_share > highest_share) {
        highest = id;
        highest_share = log_share;
      }
      if (log_share > 0) {
        residual[place] =
            std::exp(ensemble[id] / temperature - log_ensemble) * -std::expm1(-log_share);
      }
    }
    rest[place] = sum;
    sum += residual[place];
  }
  for (int32_t place = 0; place < vocabulary; ++place) {
    if (residual[place] > 0 &&
        rest[place] < ResidualOdds(draw.residual, order[place]) * residual[place]) {
      return emit(StreamOutcome::kReplaced, order[place]);
    }
  }
  // M drew a token of a probability that double cannot tell from 0 beside 1, and what it takes from
  // the others is as small: the one that gains most stands for it.
  if (highest < 0) return absl::InternalError("a rejected token left nothing to draw from");
  return emit(StreamOutcome::kReplaced, highest);
}

}  // namespace unlearn
