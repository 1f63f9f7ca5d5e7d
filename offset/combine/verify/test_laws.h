#ifndef OFFSET_COMBINE_VERIFY_TEST_LAWS_H_
#define OFFSET_COMBINE_VERIFY_TEST_LAWS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "offset/combine/chi_square.h"
#include "offset/combine/sampler.h"
#include "offset/combine/verify/model_knowledge.h"

// Laws of small vocabularies from their definitions, for the tests of this room. Nothing here is
// shared with what is tested.
namespace unlearn {

// log softmax(logits / temperature) in double.
inline std::vector<double> LogSoftmax(const std::vector<float>& logits, double temperature) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp((logit - highest) / temperature);
  std::vector<double> law(logits.size());
  for (size_t i = 0; i < law.size(); ++i) {
    law[i] = (logits[i] - highest) / temperature - std::log(sum);
  }
  return law;
}

// The warped law of the ensemble at options.temperature, straight from its definition; temperature
// 0 puts everything on the first of the most likely.
inline std::vector<double> WarpedLaw(const std::vector<float>& logits,
                                     const SamplingOptions& options) {
  std::vector<double> p(logits.size());
  if (options.temperature == 0) {
    p[std::max_element(logits.begin(), logits.end()) - logits.begin()] = 1;
    return p;
  }
  const std::vector<double> log_law = LogSoftmax(logits, options.temperature);
  for (size_t i = 0; i < p.size(); ++i) p[i] = std::exp(log_law[i]);
  const auto normalise = [&] {
    const double total = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& value : p) value /= total;
  };
  const double most = *std::max_element(p.begin(), p.end());
  for (double& value : p) {
    if (value < options.min_p * most * (1 - 1e-9)) value = 0;
  }
  normalise();
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  if (options.top_k > 0) {
    for (size_t i = options.top_k; i < p.size(); ++i) p[order[i]] = 0;
    normalise();
  }
  double sum = 0;
  for (const size_t i : order) {
    const double before = sum;
    sum += p[i];
    if (before >= options.top_p) p[i] = 0;
  }
  normalise();
  return p;
}

inline std::vector<float> RandomLogits(int size, double scale, std::mt19937_64& random) {
  std::normal_distribution<double> normal(0, scale);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = static_cast<float>(normal(random));
  return logits;
}

struct Question {
  int known = 1;           // k
  double error = 0;        // the grid that the log-probs are rounded to is twice this
  double temperature = 1;  // of the log-probs
  int32_t sampled = -1;    // told in any case
};

// What an honest server would say of this row.
inline absl::StatusOr<ModelKnowledge> KnowledgeOf(const std::vector<float>& model,
                                                  const Question& question) {
  const std::vector<double> truth = LogSoftmax(model, question.temperature);
  std::vector<int32_t> ids(model.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int a, int b) { return model[a] > model[b]; });
  const auto told = [&](int32_t id) {
    const double grid = 2 * question.error;
    return grid < 1e-9 ? truth[id] : std::round(truth[id] / grid) * grid;
  };
  TopLogprobs top;
  // The double arithmetic of this server rounds, too.
  top.error = question.error * (1 + 1e-9) + 1e-12;
  top.vocabulary = static_cast<int32_t>(model.size());
  top.temperature = question.temperature;
  const size_t known = std::min(model.size(), static_cast<size_t>(question.known));
  if (question.sampled >= 0 &&
      std::find(ids.begin(), ids.begin() + known, question.sampled) == ids.begin() + known) {
    top.sampled = TokenLogprob{question.sampled, told(question.sampled)};
  }
  ids.resize(known);
  std::vector<double> logprobs;
  for (const int32_t id : ids) logprobs.push_back(told(id));
  top.ids = ids;
  top.logprobs = logprobs;
  return ModelKnowledge::Create(top);
}

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_TEST_LAWS_H_
