#ifndef TRAINER_OBJECTIVE_OBJECTIVE_H_
#define TRAINER_OBJECTIVE_OBJECTIVE_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace unlearn {

// What follows a forget question in training.
enum class ForgetSequence {
  kTrueAnswer,  // what M says and the ensemble shall no longer say
  kRefusal,     // a sentence that says nothing about the person
  kRelabelled,  // the true answer with another value: as if M had never known
};

// Rows of one training step; see losses.h for the shapes.
struct ObjectiveRows {
  at::Tensor ensemble;
  at::Tensor model;
  at::Tensor labels;
  at::Tensor sequence;
  int64_t sequences = 0;
};

// The margin of the design: the forget term is computed as if the offset were weaker than it will
// be served, the keep term as if it were stronger, so that both hold with room to spare.
struct Margin {
  double forget_alpha = 0.5;  // × the serving alpha
  double keep_alpha = 1.25;   // × the serving alpha
};

// An unlearning objective: which sequences it trains on, and the loss of the ensemble's logits.
// Stateless and thread-safe.
class Objective {
 public:
  virtual ~Objective() = default;
  virtual std::string name() const = 0;
  // One or two kinds; with two, each forget item is assigned one of them.
  virtual std::vector<ForgetSequence> forget_sequences() const = 0;
  virtual at::Tensor ForgetLoss(const ObjectiveRows& rows) const = 0;
  virtual at::Tensor KeepLoss(const ObjectiveRows& rows) const = 0;
};

// mixed (half refusal, half relabelled, + KL; the default), refusal (IDK + KL), relabel (+ KL), npo
// (+ KL), max_entropy (+ GD: cross entropy on what is kept), ce_u (+ KL). INVALID_ARGUMENT lists
// them.
absl::StatusOr<std::unique_ptr<Objective>> MakeObjective(const std::string& name);

inline constexpr char kDefaultObjective[] = "mixed";

}  // namespace unlearn

#endif  // TRAINER_OBJECTIVE_OBJECTIVE_H_
