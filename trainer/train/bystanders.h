#ifndef TRAINER_TRAIN_BYSTANDERS_H_
#define TRAINER_TRAIN_BYSTANDERS_H_

#include <random>
#include <set>
#include <string>
#include <vector>

#include "proto/unlearn/v1/deletion.pb.h"
#include "trainer/train/forget_targets.h"

namespace unlearn {

// Questions and answers about made-up people, without end: whoever is not named in a request should
// get M's own answer, and there are more such people than any list names. A small offset that sees
// only listed names takes strangers for the forgotten; one that sees new strangers in every step
// has to learn the forgotten names themselves.
//
// The wordings are those of the retain set and the public data. First names are theirs and the
// forgotten people's; last names are theirs, or two last names (forgotten ones among them) cut and
// joined. Nobody has a forgotten person's whole last name. M need not be asked about any of them:
// the offset should do nothing there, whatever M says. Immutable and thread-safe.
class Bystanders {
 public:
  Bystanders(const v1::SubmitRequest& request, const std::vector<v1::Item>& public_items);

  // Neither the retain set nor the public data hold a question with a name in it, or the forget set
  // names nobody: there is nothing to draw.
  bool empty() const { return frames_.empty() || forgotten_first_.empty() || last_.empty(); }

  // Not to be called when empty().
  QuestionAnswer Draw(std::mt19937_64& random) const;

 private:
  std::string DrawName(std::mt19937_64& random) const;

  struct Frame {
    QuestionAnswer item;
    std::string subject;  // stands in both
  };
  std::vector<Frame> frames_;
  std::vector<std::string> forgotten_first_;
  std::vector<std::string> first_;   // of all others
  std::vector<std::string> last_;    // of all others
  std::vector<std::string> pieces_;  // last names to cut, forgotten ones among them
  std::set<std::string> forgotten_last_;
};

}  // namespace unlearn

#endif  // TRAINER_TRAIN_BYSTANDERS_H_
