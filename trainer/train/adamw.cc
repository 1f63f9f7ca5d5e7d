#include "trainer/train/adamw.h"

#include <ATen/ATen.h>

#include <cmath>

#include "absl/strings/str_cat.h"

namespace unlearn {

AdamW::AdamW(std::map<std::string, at::Tensor> parameters, const Options& options)
    : options_(options) {
  for (const auto& [name, parameter] : parameters) {
    names_.push_back(name);
    parameters_.push_back(parameter);
    const at::Tensor plain = parameter.detach();
    first_.push_back(at::zeros_like(plain));
    second_.push_back(at::zeros_like(plain));
    steps_.push_back(at::zeros({}, at::TensorOptions(at::kFloat)));
  }
}

double AdamW::Step(double scale) {
  std::vector<at::Tensor> plain, gradients, first, second, steps;
  double squares = 0;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].grad().defined()) continue;
    const at::Tensor gradient = parameters_[i].grad().detach();
    squares += gradient.square().sum(at::kDouble).item<double>();
    plain.push_back(parameters_[i].detach());
    gradients.push_back(gradient);
    first.push_back(first_[i]);
    second.push_back(second_[i]);
    steps.push_back(steps_[i]);
  }
  const double norm = std::sqrt(squares);
  if (std::isfinite(norm) && !plain.empty()) {
    if (norm > options_.max_gradient_norm) {
      for (at::Tensor& gradient : gradients) gradient.mul_(options_.max_gradient_norm / norm);
    }
    for (at::Tensor& step : steps) step.add_(1);
    at::_fused_adamw_(plain, gradients, first, second, /*max_exp_avg_sqs=*/{}, steps,
                      options_.learning_rate * scale, options_.beta1, options_.beta2,
                      options_.weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false);
  }
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
  return norm;
}

std::map<std::string, at::Tensor> AdamW::State() const {
  std::map<std::string, at::Tensor> state;
  for (size_t i = 0; i < names_.size(); ++i) {
    state["parameter/" + names_[i]] = parameters_[i].detach();
    state["first/" + names_[i]] = first_[i];
    state["second/" + names_[i]] = second_[i];
    state["step/" + names_[i]] = steps_[i];
  }
  return state;
}

absl::Status AdamW::Restore(const std::map<std::string, at::Tensor>& state) {
  for (const bool check_only : {true, false}) {
    for (size_t i = 0; i < names_.size(); ++i) {
      const std::pair<const char*, at::Tensor> parts[] = {{"parameter/", parameters_[i].detach()},
                                                          {"first/", first_[i]},
                                                          {"second/", second_[i]},
                                                          {"step/", steps_[i]}};
      for (const auto& [prefix, tensor] : parts) {
        const auto it = state.find(prefix + names_[i]);
        if (it == state.end() || it->second.sizes() != tensor.sizes()) {
          return absl::InvalidArgumentError(absl::StrCat("the checkpoint lacks ", prefix, names_[i],
                                                         " or holds another shape of it"));
        }
        if (!check_only) at::Tensor(tensor).copy_(it->second);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace unlearn
