#include "offset/combine/verify/model_knowledge.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("M's top log-probs: ", what, "; check the upstream server and its settings"));
}

absl::Status CheckShape(const TopLogprobs& top) {
  if (top.ids.empty()) return Wrong("the list is empty");
  if (top.ids.size() != top.logprobs.size()) {
    return Wrong(absl::StrCat(top.ids.size(), " ids but ", top.logprobs.size(), " log-probs"));
  }
  if (!(top.error >= 0 && top.error <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("error of M's log-probs is ", top.error, ", must be between 0 and 1"));
  }
  if (!(top.temperature > 0 && top.temperature <= 100)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "temperature of M's log-probs is ", top.temperature, ", must be above 0 and at most 100"));
  }
  const size_t known = top.ids.size() + (top.sampled.has_value() ? 1 : 0);
  if (top.vocabulary <= 0 || known > static_cast<size_t>(top.vocabulary)) {
    return Wrong(absl::StrCat(known, " tokens of a vocabulary of ", top.vocabulary));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelKnowledge> ModelKnowledge::Create(const TopLogprobs& top) {
  if (absl::Status status = CheckShape(top); !status.ok()) return status;
  ModelKnowledge knowledge;
  knowledge.vocabulary_ = top.vocabulary;
  knowledge.temperature_ = top.temperature;
  const size_t listed = top.ids.size();
  const size_t known = listed + (top.sampled.has_value() ? 1 : 0);
  knowledge.ids_.reserve(known);
  knowledge.logprobs_.reserve(known);
  knowledge.by_id_.reserve(known);
  const Interval error = Interval::Around0(top.error);
  Interval mass = Interval::Point(0);
  for (size_t i = 0; i < known; ++i) {
    const int32_t id = i < listed ? top.ids[i] : top.sampled->id;
    const double logprob = i < listed ? top.logprobs[i] : top.sampled->logprob;
    if (id < 0 || id >= top.vocabulary) {
      return Wrong(absl::StrCat("id ", id, " at place ", i, " is outside the vocabulary of ",
                                top.vocabulary));
    }
    // Written so that a NaN fails.
    if (!(logprob <= top.error)) {
      return Wrong(absl::StrCat("log-prob ", logprob, " of id ", id, " is above 0"));
    }
    if (i > 0 && i < listed && logprob > top.logprobs[i - 1]) {
      return Wrong(absl::StrCat("log-prob ", logprob, " of id ", id, " at place ", i,
                                " is above the one before it, ", top.logprobs[i - 1]));
    }
    const Interval bounds = Min(Interval::Point(logprob) + error, Interval::Point(0));
    knowledge.ids_.push_back(id);
    knowledge.logprobs_.push_back(bounds);
    knowledge.by_id_.emplace_back(id, static_cast<int>(i));
    mass += Exp(bounds);
  }
  std::sort(knowledge.by_id_.begin(), knowledge.by_id_.end());
  for (size_t i = 1; i < known; ++i) {
    if (knowledge.by_id_[i].first == knowledge.by_id_[i - 1].first) {
      return Wrong(absl::StrCat("id ", knowledge.by_id_[i].first, " is there twice"));
    }
  }
  const double cap = knowledge.logprobs_[listed - 1].hi;
  knowledge.unknown_cap_ = cap;
  if (known > listed) {
    Interval& sampled = knowledge.logprobs_.back();
    if (sampled.lo > cap) {
      return Wrong(absl::StrCat("the sampled id ", top.sampled->id, " has log-prob ",
                                top.sampled->logprob, ", above the end of the list, ",
                                top.logprobs[listed - 1]));
    }
    sampled.hi = std::min(sampled.hi, cap);
  }
  const Interval left = Interval::Point(1) - mass;
  const Interval most =
      Exp(Interval::Point(cap)) * Interval::Point(static_cast<double>(knowledge.unknown()));
  if (left.hi < 0) {
    return Wrong(absl::StrCat("the probabilities sum to ", mass.lo, ", more than 1"));
  }
  if (left.lo > most.hi) {
    return Wrong(absl::StrCat("a mass of ", left.lo, " is missing, but the other ",
                              knowledge.unknown(), " tokens can have no more than ", most.hi,
                              ", each at most what the last of the list has"));
  }
  knowledge.unknown_mass_ = {std::max(0.0, left.lo), std::min(left.hi, most.hi)};
  return knowledge;
}

int ModelKnowledge::IndexOf(int32_t id) const {
  const auto found = std::lower_bound(by_id_.begin(), by_id_.end(), std::make_pair(id, 0));
  return found != by_id_.end() && found->first == id ? found->second : -1;
}

}  // namespace unlearn
