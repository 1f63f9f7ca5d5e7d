#include "offset/combine/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

int32_t ArgMax(absl::Span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace

absl::Status CheckSamplingOptions(const SamplingOptions& options) {
  const auto error = [](absl::string_view field, double value, absl::string_view range) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampling.", field, " is ", value, ", must be ", range));
  };
  if (!(options.temperature >= 0 && options.temperature <= 100)) {
    return error("temperature", options.temperature, "between 0 and 100");
  }
  if (!(options.min_p >= 0 && options.min_p <= 1)) {
    return error("min_p", options.min_p, "between 0 and 1");
  }
  if (options.top_k < 0) return error("top_k", options.top_k, "0 (all) or more");
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return error("top_p", options.top_p, "above 0 and at most 1");
  }
  return absl::OkStatus();
}

double MinPFloor(float highest, const SamplingOptions& options) {
  if (options.min_p <= 0) return -INFINITY;
  return highest + std::log(static_cast<double>(options.min_p)) * options.temperature;
}

std::vector<int32_t> KeptTokens(absl::Span<const float> logits, const SamplingOptions& options) {
  const bool by_min_p = options.min_p > 0;
  const bool by_top_k = options.top_k > 0 && options.top_k < static_cast<int64_t>(logits.size());
  const bool by_top_p = options.top_p < 1;
  if (options.temperature == 0 || (!by_min_p && !by_top_k && !by_top_p)) return {};
  const double inverse = 1.0 / options.temperature;
  const float highest = logits[ArgMax(logits)];
  std::vector<int32_t> kept;
  const double floor = MinPFloor(highest, options);
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > -INFINITY && logits[i] >= floor) kept.push_back(static_cast<int32_t>(i));
  }
  const auto more_likely = [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  if (by_top_k && kept.size() > static_cast<size_t>(options.top_k)) {
    std::nth_element(kept.begin(), kept.begin() + options.top_k - 1, kept.end(), more_likely);
    kept.resize(options.top_k);
  }
  if (by_top_p) {
    std::sort(kept.begin(), kept.end(), more_likely);
    double total = 0;
    for (const int32_t id : kept) total += std::exp(TemperedLogit(logits[id], highest, inverse));
    double sum = 0;
    size_t count = 0;
    while (count < kept.size() && sum < options.top_p * total) {
      sum += std::exp(TemperedLogit(logits[kept[count++]], highest, inverse));
    }
    kept.resize(std::max<size_t>(1, count));
  }
  return kept;
}

double LogSumExp(absl::Span<const float> logits) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - highest);
  return highest + std::log(sum);
}

SampledToken SampleToken(absl::Span<const float> logits, const SamplingOptions& options,
                         const NoiseKey& key) {
  SampledToken token;
  if (options.temperature == 0) {
    token.id = ArgMax(logits);
  } else {
    const double inverse = 1.0 / options.temperature;
    const float highest = logits[ArgMax(logits)];
    double best = -INFINITY;
    const auto consider = [&](int32_t id) {
      if (logits[id] == -INFINITY) return;
      const double score = TemperedLogit(logits[id], highest, inverse) + GumbelNoise(key, id);
      if (score > best || (score == best && id < token.id)) {
        best = score;
        token.id = id;
      }
    };
    const std::vector<int32_t> kept = KeptTokens(logits, options);
    if (kept.empty()) {
      for (size_t i = 0; i < logits.size(); ++i) consider(static_cast<int32_t>(i));
    } else {
      for (const int32_t id : kept) consider(id);
    }
  }
  token.logprob = static_cast<float>(logits[token.id] - LogSumExp(logits));
  return token;
}

}  // namespace unlearn
