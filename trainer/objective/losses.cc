#include "trainer/objective/losses.h"

#include <ATen/ATen.h>

#include <limits>

namespace unlearn {
namespace {

// [tokens, vocab] -> [tokens]: the entries of the labels.
at::Tensor Pick(const at::Tensor& rows, const at::Tensor& labels) {
  return rows.gather(1, labels.unsqueeze(1)).squeeze(1);
}

// Sum over the vocabulary of target · logits-like rows, where 0 · -inf counts as 0.
at::Tensor Expectation(const at::Tensor& target, const at::Tensor& rows) {
  return (target * rows).masked_fill(target == 0, 0).sum(1);
}

}  // namespace

at::Tensor CrossEntropy(const at::Tensor& ensemble, const at::Tensor& labels) {
  return -Pick(at::log_softmax(ensemble, 1), labels).mean();
}

at::Tensor KlFromModel(const at::Tensor& ensemble, const at::Tensor& model) {
  const at::Tensor target = at::softmax(model, 1);
  const at::Tensor entropy = Expectation(target, at::log_softmax(model, 1));
  return (entropy - Expectation(target, at::log_softmax(ensemble, 1))).mean();
}

at::Tensor ShiftVariance(const at::Tensor& ensemble, const at::Tensor& model) {
  const at::Tensor valid = model > -std::numeric_limits<float>::infinity();
  const at::Tensor shift = at::where(valid, ensemble - model, at::zeros_like(model));
  const at::Tensor count = valid.sum(1, /*keepdim=*/true).to(model.scalar_type());
  const at::Tensor centred = shift - shift.sum(1, /*keepdim=*/true) / count;
  return ((centred * centred).masked_fill(valid.logical_not(), 0).sum(1, true) / count).mean();
}

at::Tensor ShiftVarianceOfHidden(const at::Tensor& hidden, const at::Tensor& covariance) {
  return (at::matmul(hidden, covariance) * hidden).sum(1).mean();
}

at::Tensor HeadCovariance(const at::Tensor& head) {
  const at::Tensor centred = head - head.mean(0, /*keepdim=*/true);
  return at::matmul(centred.t(), centred) / static_cast<double>(head.size(0));
}

at::Tensor NegativePreference(const at::Tensor& ensemble, const at::Tensor& model,
                              const at::Tensor& labels, const at::Tensor& sequence,
                              int64_t sequences, double beta) {
  const at::Tensor gain =
      Pick(at::log_softmax(ensemble, 1), labels) - Pick(at::log_softmax(model, 1), labels);
  const at::Tensor sums = at::zeros({sequences}, gain.options()).index_add(0, sequence, gain);
  return at::softplus(sums * beta).mean() * (2 / beta);
}

at::Tensor TowardsUniform(const at::Tensor& ensemble, const at::Tensor& model) {
  const at::Tensor valid = model > -std::numeric_limits<float>::infinity();
  const at::Tensor target = valid.to(model.scalar_type()) / valid.sum(1, true);
  return -Expectation(target, at::log_softmax(ensemble, 1)).mean();
}

at::Tensor TowardsModelWithoutLabel(const at::Tensor& ensemble, const at::Tensor& model,
                                    const at::Tensor& labels) {
  const at::Tensor without =
      model.scatter(1, labels.unsqueeze(1), -std::numeric_limits<float>::infinity());
  return -Expectation(at::softmax(without, 1), at::log_softmax(ensemble, 1)).mean();
}

}  // namespace unlearn
