#ifndef TRAINER_TRAIN_TOP_LAW_H_
#define TRAINER_TRAIN_TOP_LAW_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/combine/verify/certificate.h"
#include "offset/combine/verify/model_knowledge.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// M's law at a position where it told its k most likely tokens only, as training and the quality
// gate take it: the mass m that is left, spread evenly over the n other tokens, log(m / n) each.
// That is the law of most entropy among those that M's answer allows, it gives none of the others
// more than the last told token has, and as a row of the whole vocabulary it fits every objective,
// exactly differentiable in delta.
//
// How far the ensemble of M's true law may be from that of this one: let R be alpha times the
// spread (largest less smallest) of delta over the others, and t the probability that the others
// would have together if each had the smallest. The log-prob of a told token is off by at most
// log(1 + t (exp(R) - 1)): by nothing where delta is 0, by nothing where m is 0. Of a token that
// was not told only an upper bound is known, so its log-prob may truly be lower without limit, or
// higher by as much as the last told token's is above log(m / n). That error does not depend on
// delta: the gradient of a cross entropy, alpha (softmax(z) - onehot), is off through softmax(z)
// only, and in a ratio to M (npo) it cancels.
class TopLaw {
 public:
  // model: of the upstream (errors of its log-probs). tokens: ids that stand for something.
  // FAILED_PRECONDITION for what no law can have, or an id beyond `tokens`: as the proxy, which
  // would not draw from it either.
  static absl::StatusOr<TopLaw> Create(const TopRow& top, const UpstreamInfo& model,
                                       int64_t tokens);

  // Told tokens, most likely first, and log p of each less the first one's.
  absl::Span<const int32_t> ids() const { return knowledge_.ids(); }
  absl::Span<const float> logits() const { return logits_; }
  // The same of each other token; -inf where none has any mass.
  float other_logit() const { return other_logit_; }
  // All others together have at most this much.
  double tail_mass() const { return knowledge_.unknown_mass().hi; }

  // The token that is the ensemble's most likely one in every law that M's answer allows, if there
  // is one. delta: [tokens or more], the pair's row, finite.
  absl::StatusOr<Certificate> MostLikely(absl::Span<const float> delta, double alpha) const;

 private:
  explicit TopLaw(ModelKnowledge knowledge) : knowledge_(std::move(knowledge)) {}

  ModelKnowledge knowledge_;
  std::vector<float> logits_;
  float other_logit_ = 0;
};

// The row that such a law is: [vocab], 0 for the most likely token, -inf from id `tokens` on.
void FillRow(absl::Span<const int32_t> ids, absl::Span<const float> logits, float other_logit,
             int64_t tokens, absl::Span<float> row);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_TOP_LAW_H_
