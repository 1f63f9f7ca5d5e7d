#include "trainer/objective/objective.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"
#include "trainer/objective/losses.h"

namespace unlearn {
namespace {

constexpr double kShiftWeight = 0.1;

// What most have in common: the rest of M stays, by KL and by not being moved.
class WithKl : public Objective {
 public:
  at::Tensor KeepLoss(const ObjectiveRows& rows) const override {
    return KlFromModel(rows.ensemble, rows.model) +
           kShiftWeight * ShiftVariance(rows.ensemble, rows.model);
  }
};

// Says something else instead: refusals, relabelled answers, or half of each.
class Instead : public WithKl {
 public:
  Instead(std::string name, std::vector<ForgetSequence> sequences)
      : name_(std::move(name)), sequences_(std::move(sequences)) {}
  std::string name() const override { return name_; }
  std::vector<ForgetSequence> forget_sequences() const override { return sequences_; }
  at::Tensor ForgetLoss(const ObjectiveRows& rows) const override {
    return CrossEntropy(rows.ensemble, rows.labels);
  }

 private:
  const std::string name_;
  const std::vector<ForgetSequence> sequences_;
};

class Npo : public WithKl {
 public:
  std::string name() const override { return "npo"; }
  std::vector<ForgetSequence> forget_sequences() const override {
    return {ForgetSequence::kTrueAnswer};
  }
  at::Tensor ForgetLoss(const ObjectiveRows& rows) const override {
    constexpr double kBeta = 0.1;  // the paper's
    return NegativePreference(rows.ensemble, rows.model, rows.labels, rows.sequence, rows.sequences,
                              kBeta);
  }
};

class CeU : public WithKl {
 public:
  std::string name() const override { return "ce_u"; }
  std::vector<ForgetSequence> forget_sequences() const override {
    return {ForgetSequence::kTrueAnswer};
  }
  at::Tensor ForgetLoss(const ObjectiveRows& rows) const override {
    return TowardsModelWithoutLabel(rows.ensemble, rows.model, rows.labels);
  }
};

class MaxEntropy : public Objective {
 public:
  std::string name() const override { return "max_entropy"; }
  std::vector<ForgetSequence> forget_sequences() const override {
    return {ForgetSequence::kTrueAnswer};
  }
  at::Tensor ForgetLoss(const ObjectiveRows& rows) const override {
    return TowardsUniform(rows.ensemble, rows.model);
  }
  at::Tensor KeepLoss(const ObjectiveRows& rows) const override {
    return CrossEntropy(rows.ensemble, rows.labels);
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Objective>> MakeObjective(const std::string& name) {
  if (name.empty() || name == "mixed") {
    return std::make_unique<Instead>(
        "mixed",
        std::vector<ForgetSequence>{ForgetSequence::kRefusal, ForgetSequence::kRelabelled});
  }
  if (name == "refusal") {
    return std::make_unique<Instead>(name, std::vector<ForgetSequence>{ForgetSequence::kRefusal});
  }
  if (name == "relabel") {
    return std::make_unique<Instead>(name,
                                     std::vector<ForgetSequence>{ForgetSequence::kRelabelled});
  }
  if (name == "npo") return std::make_unique<Npo>();
  if (name == "ce_u") return std::make_unique<CeU>();
  if (name == "max_entropy") return std::make_unique<MaxEntropy>();
  return absl::InvalidArgumentError(
      absl::StrCat("settings.objective \"", name,
                   "\" is not one of mixed, refusal, relabel, npo, max_entropy, ce_u"));
}

}  // namespace unlearn
