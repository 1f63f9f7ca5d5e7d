#ifndef TOOLS_BENCH_RUNNER_DRAFT_AGREEMENT_H_
#define TOOLS_BENCH_RUNNER_DRAFT_AGREEMENT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "tools/bench_runner/simulated_model.h"

namespace unlearn {

// What the pair would draft: the favourite of z_r + alpha * delta, at alpha = 1 that of the offset.
class Draft {
 public:
  Draft(const Decoder* base, const LoraStack* stack) : base_(base), stack_(stack) {}

  // A standard deviation of noise on M's logits (z_M = z_r + noise) with which the ensemble's
  // favourite, that of z_r + delta + noise, is the draft's in about this share of the `steps`
  // tokens that the ensemble puts after each prompt. 0 < share < 1.
  absl::StatusOr<double> NoiseFor(double share, const NoiseRows& noise,
                                  const std::vector<std::vector<int32_t>>& prompts,
                                  int steps) const;

  // In which share of all positions the draft would have been the token that stands there:
  // tokens[i] came after prompts[i].
  absl::StatusOr<double> Agreement(const std::vector<std::vector<int32_t>>& prompts,
                                   const std::vector<std::vector<int32_t>>& tokens) const;

 private:
  // The agreement on the ensemble's own greedy tokens under noise of this deviation.
  absl::StatusOr<double> AgreementUnder(double deviation, const NoiseRows& noise,
                                        const std::vector<std::vector<int32_t>>& prompts,
                                        int steps) const;
  // Logits after each of the last `count` tokens, [count, vocab].
  absl::StatusOr<at::Tensor> Rows(const std::vector<int32_t>& tokens, int64_t count) const;

  const Decoder* const base_;
  const LoraStack* const stack_;
};

}  // namespace unlearn

#endif  // TOOLS_BENCH_RUNNER_DRAFT_AGREEMENT_H_
