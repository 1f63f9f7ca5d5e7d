#ifndef TRAINER_TRAIN_LOGIT_CACHE_H_
#define TRAINER_TRAIN_LOGIT_CACHE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "offset/model/decoder.h"
#include "proxy/upstream/upstream.h"
#include "trainer/queue/sealed_folder.h"
#include "trainer/train/model_rows.h"
#include "trainer/train/training_sequence.h"

namespace unlearn {

// Fills in what M says: from `work`, where an earlier run left it, else by asking M, several
// sequences at a time; what was asked is kept in `work`, sealed. Where M tells its most likely
// tokens only, it is asked for info().top of them, and once more for as many as it allows (4096 at
// most) where the answer's token was not told. CANCELLED when `should_stop`; FAILED_PRECONDITION
// for an answer that is no law.
absl::Status FillModelRows(Upstream& upstream, const Vocabulary& vocabulary, SealedFolder& work,
                           const std::function<bool()>& should_stop,
                           std::vector<TrainingSequence>& sequences);

// Fills in reference_hidden by running the bare base.
absl::Status FillReferenceHidden(const Decoder& base, std::vector<TrainingSequence>& sequences);

// Recognises a training set; only for the inside of sealed files, since it is made of personal
// data.
std::string SequencesDigest(absl::Span<const TrainingSequence> sequences);

// Pads the token ids of sequences to one int64 tensor [count, longest]; what an answer token is
// predicted from stands one place before it.
at::Tensor PaddedTokens(const std::vector<const TrainingSequence*>& sequences);

// The hidden states that predict the answer tokens, of all sequences one after another:
// hidden [count, longest, size] -> [answer tokens, size].
at::Tensor AnswerRows(const at::Tensor& hidden,
                      const std::vector<const TrainingSequence*>& sequences);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_LOGIT_CACHE_H_
