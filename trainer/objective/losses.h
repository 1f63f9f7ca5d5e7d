#ifndef TRAINER_OBJECTIVE_LOSSES_H_
#define TRAINER_OBJECTIVE_LOSSES_H_

#include <ATen/core/Tensor.h>

namespace unlearn {

// The terms that objectives are made of: pure functions of the ensemble's logits, M's logits and
// labels, over answer tokens only (padding never gets here). All differentiable with respect to the
// ensemble's logits; M is never differentiated.
//
// ensemble, model: [tokens, vocab] fp32 (M's rows may be shifted by a constant each: every term is
// a function of softmax). labels: [tokens] int64, the token that follows. sequence: [tokens] int64,
// the sequence each token belongs to, 0 <= sequence < sequences.

// Mean over tokens of -log p(label): makes the ensemble say the labels.
at::Tensor CrossEntropy(const at::Tensor& ensemble, const at::Tensor& labels);

// Mean over tokens of KL(M || ensemble): keeps the ensemble what M is.
at::Tensor KlFromModel(const at::Tensor& ensemble, const at::Tensor& model);

// Mean over tokens of the variance over the vocabulary of (ensemble - M), ids that M excludes left
// out: how far the offset moves anything, as softmax sees it. KL alone does not notice an offset
// that pushes M where it already leans (towards refusing a name that it does not know), and what
// was learnt there spills over to names that M does know.
at::Tensor ShiftVariance(const at::Tensor& ensemble, const at::Tensor& model);

// The same of a shift W · hidden that is known by its hidden states, without a product over the
// vocabulary: mean over rows of h' C h. hidden: [rows, hidden]; covariance: what HeadCovariance
// gives.
at::Tensor ShiftVarianceOfHidden(const at::Tensor& hidden, const at::Tensor& covariance);

// The covariance of the head's rows: head [vocab, hidden] -> [hidden, hidden].
at::Tensor HeadCovariance(const at::Tensor& head);

// Negative preference optimisation (arXiv 2404.05868, equation 3): mean over sequences of
// (2 / beta) · log(1 + (p / p_M)^beta), p the probability of the whole sequence.
at::Tensor NegativePreference(const at::Tensor& ensemble, const at::Tensor& model,
                              const at::Tensor& labels, const at::Tensor& sequence,
                              int64_t sequences, double beta);

// Mean over tokens of the cross entropy from the uniform distribution to the ensemble (arXiv
// 2410.08109, the forget term of ME): over ids that M does not exclude with -inf.
at::Tensor TowardsUniform(const at::Tensor& ensemble, const at::Tensor& model);

// Mean over tokens of the cross entropy from M's distribution without the label (renormalised) to
// the ensemble (CE-U, arXiv 2503.01224).
at::Tensor TowardsModelWithoutLabel(const at::Tensor& ensemble, const at::Tensor& model,
                                    const at::Tensor& labels);

}  // namespace unlearn

#endif  // TRAINER_OBJECTIVE_LOSSES_H_
