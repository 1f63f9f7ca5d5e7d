#include "proxy/upstream/fingerprint/model_fingerprint.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

constexpr int kProbes = 4;
constexpr int kProbeTokens = 6;
constexpr int kTop = 8;
constexpr double kTolerance = 0.05;  // nats

// Token ids spread over the vocabulary; the same for every M of that size.
std::vector<int32_t> ProbePrompt(int probe, int32_t vocab_size) {
  std::vector<int32_t> ids;
  for (int i = 0; i < kProbeTokens; ++i) {
    const uint64_t mixed = (uint64_t(probe) * kProbeTokens + i + 1) * 0x9E3779B97F4A7C15u;
    ids.push_back(static_cast<int32_t>((mixed >> 33) % vocab_size));
  }
  return ids;
}

}  // namespace

absl::StatusOr<v1::ModelFingerprint> TakeModelFingerprint(Upstream& upstream, AskModel ask) {
  v1::ModelFingerprint fingerprint;
  ASSIGN_OR_RETURN(const std::unique_ptr<UpstreamSession> session, upstream.NewSession());
  for (int probe = 0; probe < kProbes; ++probe) {
    UpstreamStep step;
    step.token_ids = ProbePrompt(probe, upstream.info().vocab_size);
    v1::ProbeFingerprint& entry = *fingerprint.add_probes();
    for (const int32_t id : step.token_ids) entry.add_prompt_token_ids(id);
    if (upstream.info().top > 0) step.top = kTop;  // a thousand of them would be thrown away
    ASSIGN_OR_RETURN(const UpstreamLogits rows, ask(*session, std::move(step)));
    if (!rows.tops.empty()) {
      const TopRow& top = rows.tops.front();
      for (size_t i = 0; i < std::min<size_t>(kTop, top.ids.size()); ++i) {
        entry.add_top_ids(top.ids[i]);
        entry.add_top_logprobs(static_cast<float>(top.logprobs[i]));
      }
      continue;
    }
    const std::vector<float>& logits = rows.logits;
    if (logits.empty()) return absl::FailedPreconditionError("M gave no logits for a probe prompt");
    // -inf stands for no token; anything else that is not finite cannot be compared or combined.
    for (const float logit : logits) {
      if (std::isfinite(logit) || logit == -HUGE_VALF) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          "M's logits on probe prompt ", probe,
          " are not finite; look at M's weights and at the precision that it runs in"));
    }
    const float highest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double(logit) - highest);
    std::vector<int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    const size_t top = std::min<size_t>(kTop, order.size());
    std::partial_sort(order.begin(), order.begin() + top, order.end(), [&](int32_t a, int32_t b) {
      return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
    for (size_t i = 0; i < top; ++i) {
      entry.add_top_ids(order[i]);
      entry.add_top_logprobs(static_cast<float>(logits[order[i]] - highest - std::log(sum)));
    }
  }
  return fingerprint;
}

absl::Status CompareModelFingerprints(const v1::ModelFingerprint& expected,
                                      const v1::ModelFingerprint& seen, double noise) {
  const auto differs = [](absl::string_view how) {
    return absl::FailedPreconditionError(
        absl::StrCat("M is not the model that the offset was made for (", how,
                     "); point --upstream at that model, or make a new store for this one"));
  };
  const double most = kTolerance + 2 * noise;
  const double average = kTolerance + noise / 3;
  double sum = 0;  // of what the tokens are apart, weighed by their probability
  double weights = 0;
  if (expected.probes_size() != seen.probes_size()) return differs("another set of probes");
  for (int probe = 0; probe < expected.probes_size(); ++probe) {
    const v1::ProbeFingerprint& want = expected.probes(probe);
    const v1::ProbeFingerprint& have = seen.probes(probe);
    if (!std::equal(want.prompt_token_ids().begin(), want.prompt_token_ids().end(),
                    have.prompt_token_ids().begin(), have.prompt_token_ids().end())) {
      return differs("another vocabulary size");
    }
    std::map<int32_t, float> known;
    for (int i = 0; i < have.top_ids_size(); ++i) known[have.top_ids(i)] = have.top_logprobs(i);
    const float lowest = have.top_logprobs_size() ? have.top_logprobs().rbegin()[0] : 0;
    for (int i = 0; i < want.top_ids_size(); ++i) {
      const auto it = known.find(want.top_ids(i));
      // A token below the list may have dropped out of it by as little as the tolerance.
      const double now = it == known.end() ? lowest : it->second;
      const double apart = std::abs(now - want.top_logprobs(i));
      const double weight = std::exp(want.top_logprobs(i));
      sum += weight * apart;
      weights += weight;
      if (!(apart <= most)) {
        return differs(absl::StrCat("probe ", probe, ", rank ", i, ": log-prob ",
                                    want.top_logprobs(i), " became ", now));
      }
    }
  }
  if (!(sum <= average * weights)) {
    return differs(absl::StrCat("log-probs of likely tokens are ", sum / weights,
                                " apart on average, ", average, " allowed"));
  }
  return absl::OkStatus();
}

}  // namespace unlearn
