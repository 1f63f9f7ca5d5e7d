#ifndef TRAINER_TRAIN_QUALITY_GATE_H_
#define TRAINER_TRAIN_QUALITY_GATE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/decoder.h"
#include "offset/model/lora.h"
#include "offset/text/tokenizer.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "proxy/upstream/upstream.h"
#include "trainer/train/encoded_item.h"

namespace unlearn {

struct GateOptions {
  // Share of probes M answers with the secret that the ensemble may still answer with it.
  double max_forget_rate = 0.10;
  // Mean ROUGE-L recall of the ensemble's answers against M's own on the retain set.
  double min_keep_agreement = 0.90;
  size_t max_probes = 400;  // of each kind, spread over the items
  double alpha = 1;
  std::vector<int32_t> end_ids;
};

struct GateVerdict {
  bool accepted = false;
  std::vector<std::string> reasons;  // figures only, never texts
  // forget_rate, forget_probes, keep_agreement, ... Where M tells its most likely tokens only, also
  // gate_tail_mass_max and _mean (of M's law at a token, what was not told) and
  // gate_undecided_tokens: the share that a guess at the tail stood in for, where the proxy would
  // end its stream.
  std::map<std::string, double> scores;
};

// Judges a trained offset on phrasings that training did not hold, against what M alone answers to
// the same: what M does not say cannot be seen to be forgotten.
absl::StatusOr<GateVerdict> JudgeOffset(const v1::SubmitRequest& request, Upstream& upstream,
                                        std::shared_ptr<const Decoder> base,
                                        std::shared_ptr<const LoraStack> stack,
                                        const Tokenizer& tokenizer, const PromptTemplate& format,
                                        const GateOptions& options,
                                        const std::function<bool()>& should_stop);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_QUALITY_GATE_H_
