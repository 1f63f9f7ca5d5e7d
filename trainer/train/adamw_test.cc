#include "trainer/train/adamw.h"

#include <ATen/ATen.h>

#include <cmath>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

// AdamW (Loshchilov and Hutter, 2019, algorithm 2) of numbers, in double.
class Reference {
 public:
  Reference(std::vector<double> values, const AdamW::Options& options)
      : values(std::move(values)),
        first_(this->values.size()),
        second_(this->values.size()),
        options_(options) {}

  double Step(std::vector<double> gradient, double scale) {
    double squares = 0;
    for (const double g : gradient) squares += g * g;
    const double norm = std::sqrt(squares);
    if (norm > options_.max_gradient_norm) {
      for (double& g : gradient) g *= options_.max_gradient_norm / norm;
    }
    ++step_;
    const double rate = options_.learning_rate * scale;
    for (size_t i = 0; i < values.size(); ++i) {
      first_[i] = options_.beta1 * first_[i] + (1 - options_.beta1) * gradient[i];
      second_[i] = options_.beta2 * second_[i] + (1 - options_.beta2) * gradient[i] * gradient[i];
      values[i] -= rate * options_.weight_decay * values[i];
      values[i] -= rate * first_[i] / (1 - std::pow(options_.beta1, step_)) /
                   (std::sqrt(second_[i] / (1 - std::pow(options_.beta2, step_))) + options_.eps);
    }
    return norm;
  }

  std::vector<double> values;

 private:
  std::vector<double> first_, second_;
  const AdamW::Options options_;
  int step_ = 0;
};

at::Tensor Leaf(const std::vector<double>& values) {
  return at::tensor(values, at::TensorOptions(at::kFloat)).set_requires_grad(true);
}

// A gradient of step `step`; small and large ones, so that some are clipped.
std::vector<double> Gradient(int step, size_t size) {
  std::vector<double> gradient;
  for (size_t i = 0; i < size; ++i) {
    gradient.push_back(std::sin(1.0 + step * 3.7 + i) * (step % 3 == 0 ? 2.0 : 0.05));
  }
  return gradient;
}

TEST(AdamWTest, EqualsTheScalarReference) {
  AdamW::Options options;
  options.learning_rate = 0.02;
  options.weight_decay = 0.1;
  const std::vector<double> start = {1, -2, 3, 0.5, 0};
  Reference reference(start, options);
  // The five numbers as two parameters: clipping is by the norm of all.
  at::Tensor a = Leaf({1, -2, 3});
  at::Tensor b = Leaf({0.5, 0});
  AdamW optimizer({{"a", a}, {"b", b}}, options);
  int clipped = 0;
  for (int step = 0; step < 40; ++step) {
    const std::vector<double> gradient = Gradient(step, 5);
    a.mutable_grad() = at::tensor(gradient, at::TensorOptions(at::kFloat)).narrow(0, 0, 3).clone();
    b.mutable_grad() = at::tensor(gradient, at::TensorOptions(at::kFloat)).narrow(0, 3, 2).clone();
    const double scale = 1.0 / (1 + step % 4);
    const double norm = optimizer.Step(scale);
    EXPECT_NEAR(norm, reference.Step(gradient, scale), 1e-5);
    clipped += norm > options.max_gradient_norm;
    const at::Tensor all = at::cat({a.detach(), b.detach()});
    for (int i = 0; i < 5; ++i) {
      EXPECT_NEAR(all[i].item<double>(), reference.values[i], 2e-5) << "step " << step;
    }
    EXPECT_FALSE(a.grad().defined());
  }
  EXPECT_GT(clipped, 5);
  EXPECT_LT(clipped, 35);
}

TEST(AdamWTest, ParametersWithoutAGradientStay) {
  at::Tensor a = Leaf({1, 2});
  at::Tensor b = Leaf({3});
  AdamW optimizer({{"a", a}, {"b", b}}, AdamW::Options());
  b.mutable_grad() = at::ones({1});
  optimizer.Step(1);
  EXPECT_TRUE(at::equal(a.detach(), at::tensor({1.0f, 2.0f})));
  EXPECT_NE(b.item<float>(), 3);
}

TEST(AdamWTest, AGradientThatIsNotFiniteChangesNothing) {
  at::Tensor a = Leaf({1, 2});
  AdamW optimizer({{"a", a}}, AdamW::Options());
  a.mutable_grad() = at::ones({2});
  optimizer.Step(1);
  std::map<std::string, at::Tensor> before;
  for (const auto& [name, tensor] : optimizer.State()) before[name] = tensor.clone();
  for (const float bad : {NAN, INFINITY}) {
    a.mutable_grad() = at::tensor({0.5f, bad});
    EXPECT_FALSE(std::isfinite(optimizer.Step(1)));
    EXPECT_FALSE(a.grad().defined());
    for (const auto& [name, tensor] : optimizer.State()) {
      EXPECT_TRUE(at::equal(tensor, before.at(name))) << name;
    }
  }
}

TEST(AdamWTest, RestoredItGoesOnIdentically) {
  const auto run = [](int from, int to, const std::map<std::string, at::Tensor>& state) {
    at::Tensor a = Leaf({9, 9, 9});
    at::Tensor b = Leaf({9});
    if (state.empty()) {
      a = Leaf({1, -2, 3});
      b = Leaf({0.5});
    }
    AdamW optimizer({{"a", a}, {"b", b}}, AdamW::Options());
    if (!state.empty()) {
      EXPECT_TRUE(optimizer.Restore(state).ok());
    }
    for (int step = from; step < to; ++step) {
      const at::Tensor gradient = at::tensor(Gradient(step, 4), at::TensorOptions(at::kFloat));
      a.mutable_grad() = gradient.narrow(0, 0, 3).clone();
      b.mutable_grad() = gradient.narrow(0, 3, 1).clone();
      optimizer.Step(1.0 / (step + 1));
    }
    std::map<std::string, at::Tensor> copy;
    for (const auto& [name, tensor] : optimizer.State()) copy[name] = tensor.clone();
    return copy;
  };
  const auto whole = run(0, 20, {});
  const auto resumed = run(7, 20, run(0, 7, {}));
  ASSERT_EQ(whole.size(), 8u);
  for (const auto& [name, tensor] : whole) {
    EXPECT_TRUE(at::equal(tensor, resumed.at(name))) << name;
  }
}

TEST(AdamWTest, RestoreOfAnIncompleteStateChangesNothing) {
  at::Tensor a = Leaf({1, 2});
  at::Tensor b = Leaf({3});
  AdamW optimizer({{"a", a}, {"b", b}}, AdamW::Options());
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, tensor] : optimizer.State()) state[name] = tensor.clone() + 1;
  for (const auto& [name, tensor] : std::map<std::string, at::Tensor>(state)) {
    std::map<std::string, at::Tensor> damaged = state;
    damaged.erase(name);
    EXPECT_EQ(optimizer.Restore(damaged).code(), absl::StatusCode::kInvalidArgument) << name;
    damaged[name] = at::zeros({5});
    const absl::Status status = optimizer.Restore(damaged);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_NE(status.message().find(name), std::string::npos) << status;
  }
  EXPECT_TRUE(at::equal(a.detach(), at::tensor({1.0f, 2.0f})));
  EXPECT_TRUE(at::equal(b.detach(), at::tensor({3.0f})));
  ASSERT_TRUE(optimizer.Restore(state).ok());
  EXPECT_TRUE(at::equal(a.detach(), at::tensor({2.0f, 3.0f})));
}

}  // namespace
}  // namespace unlearn
