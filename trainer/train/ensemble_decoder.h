#ifndef TRAINER_TRAIN_ENSEMBLE_DECODER_H_
#define TRAINER_TRAIN_ENSEMBLE_DECODER_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

struct DecodeOptions {
  double alpha = 1;
  int32_t max_tokens = 48;
  std::vector<int32_t> end_ids;
  size_t at_once = 32;  // prompts that M works on at the same time
};

// Greedy completions of many prompts under the ensemble, for the quality gate: the same lockstep as
// the proxy's, without its scheduler. An empty stack gives M alone. Completions leave out the end
// token. CANCELLED when `should_stop`.
absl::StatusOr<std::vector<std::vector<int32_t>>> DecodeEnsemble(
    Upstream& upstream, std::shared_ptr<const Decoder> base, std::shared_ptr<const LoraStack> stack,
    const std::vector<std::vector<int32_t>>& prompts, const DecodeOptions& options,
    const std::function<bool()>& should_stop);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_ENSEMBLE_DECODER_H_
