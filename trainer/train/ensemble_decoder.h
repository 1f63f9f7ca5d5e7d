#ifndef TRAINER_TRAIN_ENSEMBLE_DECODER_H_
#define TRAINER_TRAIN_ENSEMBLE_DECODER_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "proxy/upstream/upstream.h"
#include "trainer/train/top_figures.h"

namespace unlearn {

struct DecodeOptions {
  double alpha = 1;
  int32_t max_tokens = 48;
  std::vector<int32_t> end_ids;
  int64_t tokens = 0;   // ids that stand for something and can be drawn; 0: the pair's vocabulary
  size_t at_once = 32;  // prompts that M works on at the same time
};

// Greedy completions of many prompts under the ensemble, for the quality gate: the same lockstep as
// the proxy's, without its scheduler. An empty stack gives M alone. Completions leave out the end
// token. CANCELLED when `should_stop`.
//
// Where M tells its most likely tokens only, a token is the certified one if there is one, as in
// the proxy, which asks for more as long as there is none and M tells more. Then the proxy ends its
// stream with an error; here the most likely token of M's law with an even tail (TopLaw) stands in,
// and `figures` counts it. So the proxy's answer is this one or its beginning: a secret that it
// would say is found here.
absl::StatusOr<std::vector<std::vector<int32_t>>> DecodeEnsemble(
    Upstream& upstream, std::shared_ptr<const Decoder> base, std::shared_ptr<const LoraStack> stack,
    const std::vector<std::vector<int32_t>>& prompts, const DecodeOptions& options,
    const std::function<bool()>& should_stop, TopFigures* figures = nullptr);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_ENSEMBLE_DECODER_H_
