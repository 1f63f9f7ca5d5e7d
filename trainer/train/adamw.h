#ifndef TRAINER_TRAIN_ADAMW_H_
#define TRAINER_TRAIN_ADAMW_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace unlearn {

// AdamW over named parameters, with global gradient-norm clipping. Its state can be saved and put
// back, after which it goes on exactly as if it had never stopped.
class AdamW {
 public:
  struct Options {
    double learning_rate = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.99;
    double eps = 1e-8;
    double weight_decay = 0.0;
    double max_gradient_norm = 1.0;
  };

  AdamW(std::map<std::string, at::Tensor> parameters, const Options& options);

  // Applies the gradients that backward left and clears them. `scale` multiplies the learning rate.
  // Returns the gradients' norm before clipping; when it is not finite nothing is changed.
  double Step(double scale);

  // Parameters and moments by name, for a checkpoint.
  std::map<std::string, at::Tensor> State() const;
  // INVALID_ARGUMENT when a tensor is missing or has another shape.
  absl::Status Restore(const std::map<std::string, at::Tensor>& state);

 private:
  Options options_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_;
  std::vector<at::Tensor> first_;  // moments
  std::vector<at::Tensor> second_;
  std::vector<at::Tensor> steps_;  // one number each, as the fused kernel wants it
};

}  // namespace unlearn

#endif  // TRAINER_TRAIN_ADAMW_H_
