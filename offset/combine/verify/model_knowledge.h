#ifndef OFFSET_COMBINE_VERIFY_MODEL_KNOWLEDGE_H_
#define OFFSET_COMBINE_VERIFY_MODEL_KNOWLEDGE_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "offset/combine/verify/interval.h"

namespace unlearn {

struct TokenLogprob {
  int32_t id = 0;
  double logprob = 0;
};

// What a server said about M's row at one position.
struct TopLogprobs {
  // The k most likely tokens, most likely first, and log softmax(z_M / temperature) of each.
  absl::Span<const int32_t> ids;      // [k], k >= 1
  absl::Span<const double> logprobs;  // [k]
  // The token that M drew, where it is not among the k (vLLM's K+1st entry): known, but no cap.
  absl::optional<TokenLogprob> sampled;
  // Ids that M can draw: 0 … vocabulary - 1. Padded rows are -inf and not counted; counting some
  // that are not there only loosens the bounds.
  int32_t vocabulary = 0;
  // |given - true| of every log-prob: the digits of the JSON, a bf16 row, the server's own fp32.
  double error = 0;
  // Of the softmax that the log-probs were taken from: 1 for nearly all servers, or the T at which
  // M samples.
  double temperature = 1;
};

// The same, checked, as bounds: which laws of M are possible. Let q be M's law at `temperature`.
class ModelKnowledge {
 public:
  // INVALID_ARGUMENT for what no law can have: a NaN, a log-prob above 0, ids twice or outside the
  // vocabulary, an unsorted list, a sampled token above the list's end, masses above 1 or too small
  // for the rest (each unknown token has at most the list's smallest probability). A server that
  // says such things is broken or lying.
  static absl::StatusOr<ModelKnowledge> Create(const TopLogprobs& top);

  // Known tokens: the list, then the sampled one if it was not in it.
  absl::Span<const int32_t> ids() const { return ids_; }
  absl::Span<const Interval> logprobs() const { return logprobs_; }  // log q, by ids()
  // Where `id` stands in ids(), or -1.
  int IndexOf(int32_t id) const;

  int32_t vocabulary() const { return vocabulary_; }
  // How many tokens are not known, what each can have at most (log q), and all of them together.
  int32_t unknown() const { return vocabulary_ - static_cast<int32_t>(ids_.size()); }
  double unknown_cap() const { return unknown_cap_; }
  Interval unknown_mass() const { return unknown_mass_; }
  double temperature() const { return temperature_; }

 private:
  std::vector<int32_t> ids_;
  std::vector<Interval> logprobs_;
  std::vector<std::pair<int32_t, int>> by_id_;  // (id, index), sorted
  int32_t vocabulary_ = 0;
  double unknown_cap_ = 0;
  Interval unknown_mass_;
  double temperature_ = 1;
};

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_MODEL_KNOWLEDGE_H_
