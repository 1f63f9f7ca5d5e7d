#ifndef TRAINER_TRAIN_TRAINING_SET_H_
#define TRAINER_TRAIN_TRAINING_SET_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "offset/text/tokenizer.h"
#include "proto/unlearn/v1/deletion.pb.h"
#include "trainer/objective/objective.h"
#include "trainer/train/encoded_item.h"
#include "trainer/train/training_sequence.h"

namespace unlearn {

// Everything that one request trains on, as M's tokens.
struct TrainingSet {
  std::vector<TrainingSequence> sequences;
  // Indices into `sequences`. Each forget group is one phrasing of one item with its alternatives
  // (several refusals, several wrong values), of which a step draws one: every item is trained.
  std::vector<std::vector<size_t>> forget_groups;
  // The same for forgotten names in the public data's wordings.
  std::vector<std::vector<size_t>> transplanted_groups;
  std::vector<size_t> retain;   // the request's own retain set
  std::vector<size_t> general;  // the operator's public data
  // With two kinds of forget sequences every second group has the second kind; how many could not
  // have it, since their items hold no wrong answers, and got the first.
  int without_wrong_answers = 0;
};

struct TrainingSetOptions {
  std::vector<std::string> refusals;   // sentences in M's language
  std::vector<v1::Item> public_items;  // the operator's probes: the KL term is sampled widely
  int alternatives = 3;                // refusals or wrong values per forget phrasing
  size_t max_public = 2000;
  // The public data's questions with forgotten names in them get refusals too, those with retained
  // names keep what M answers: both hold in wordings that the request does not. Off where a request
  // must leave other facts about the same people.
  bool transplant = true;
  size_t max_transplanted = 900;  // of each kind
  int32_t eos = 0;
  int64_t max_tokens = 0;  // of prompt and answer: the context
};

// Questions in the public data's wordings about retained people; their answers M has to be asked
// for.
std::vector<std::string> TransplantedKeptQuestions(const v1::SubmitRequest& request,
                                                   const TrainingSetOptions& options,
                                                   uint64_t seed);

// `own_answers`: what M says to such questions; kept like the retain set. INVALID_ARGUMENT names
// the set and index of an item that does not fit, never its text.
absl::StatusOr<TrainingSet> MakeTrainingSet(const v1::SubmitRequest& request,
                                            const Objective& objective, const Tokenizer& tokenizer,
                                            const PromptTemplate& format,
                                            const TrainingSetOptions& options, uint64_t seed,
                                            const std::vector<v1::Item>& own_answers = {});

}  // namespace unlearn

#endif  // TRAINER_TRAIN_TRAINING_SET_H_
