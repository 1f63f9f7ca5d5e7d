#ifndef TOOLS_PEOPLE_PEOPLE_FILES_H_
#define TOOLS_PEOPLE_PEOPLE_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "tools/people/people_generator.h"

namespace unlearn {

// Generates people and writes them to `out_dir` (made if it is not there), one JSON object a line:
//   train_m.jsonl         what M learns: the known people in phrasings 0-2, refusals, chit-chat
//   train_base.jsonl      what the pair's base learns: other people, other refusals, chit-chat
//   forget.jsonl          the deletion request: phrasing 0, paraphrase in phrasing 1
//   retain.jsonl          the same for the people who are named as to be kept
//   probes_GROUP.jsonl    phrasing 2 for forget, retain, kept and unknown
//   held_out_GROUP.jsonl  phrasing 3, which nothing is trained on
//   public.jsonl          questions about names that nobody knows and about well-known people (in
//                         every wording, with their true answers), and chit-chat
//   refusals.txt          the refusal sentences
//   manifest.json         options, counts and the names of each group
// The same options give the same bytes on every platform. INVALID_ARGUMENT for options out of
// range, otherwise the file system's error.
absl::Status WritePeople(const PeopleOptions& options, const std::string& out_dir);

}  // namespace unlearn

#endif  // TOOLS_PEOPLE_PEOPLE_FILES_H_
