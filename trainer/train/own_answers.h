#ifndef TRAINER_TRAIN_OWN_ANSWERS_H_
#define TRAINER_TRAIN_OWN_ANSWERS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/model/decoder.h"
#include "offset/text/tokenizer.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "proxy/upstream/upstream.h"
#include "trainer/queue/sealed_folder.h"
#include "trainer/train/encoded_item.h"

namespace unlearn {

// What M alone says (greedily) to questions that somebody shall go on getting an answer to. M is
// asked once: the answers are kept in `work`, sealed, for this M and these questions. `base` only
// fills the pair's place. CANCELLED when `should_stop`.
absl::StatusOr<std::vector<v1::Item>> AskOwnAnswers(
    const std::vector<std::string>& questions, Upstream& upstream,
    std::shared_ptr<const Decoder> base, const Tokenizer& tokenizer, const PromptTemplate& format,
    SealedFolder& work, const std::function<bool()>& should_stop);

}  // namespace unlearn

#endif  // TRAINER_TRAIN_OWN_ANSWERS_H_
