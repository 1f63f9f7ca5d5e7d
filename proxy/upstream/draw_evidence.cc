#include "proxy/upstream/draw_evidence.h"

#include <algorithm>
#include <cmath>

namespace unlearn {
namespace {

// Where cells end. The rare tokens have small ones: what truncates a law takes these away.
constexpr double kEnds[] = {0.25, 0.5, 0.75, 0.85, 0.95, 1};
// How strongly the bets hold on to the fair law, in draws.
constexpr double kPrior = 20;

}  // namespace

void DrawEvidence::Add(const SampledRow& row, double uniform) {
  const TopRow& top = row.top;
  const double largest = top.logprobs.front();
  double told = 0;    // probability at temperature 1
  double weight = 0;  // at our temperature, relative to the largest
  double below = -1, width = 0;
  for (size_t i = 0; i < top.ids.size(); ++i) {
    const double own = std::exp((top.logprobs[i] - largest) / temperature_);
    if (top.ids[i] == row.id) {
      below = weight;
      width = own;
    }
    told += std::exp(top.logprobs[i]);
    weight += own;
  }
  ++seen_;
  known_ += std::min(told, 1.0);
  // What those not told weigh is known at temperature 1 only.
  double others = 0;
  if (temperature_ == 1) {
    others = std::max(0.0, 1 - told) * std::exp(-largest);
  } else if (below < 0 || top.ids.size() < 2) {
    return;
  }
  if (below < 0) {
    below = weight;
    width = others;
  }
  const double place = (below + uniform * width) / (weight + others);
  size_t cell = 0;
  while (cell + 1 < counts_.size() && place >= kEnds[cell]) ++cell;
  ++counts_[cell];
  ++draws_;
}

double DrawEvidence::Log() const {
  double log = std::lgamma(kPrior) - std::lgamma(kPrior + static_cast<double>(draws_));
  double begin = 0;
  for (size_t cell = 0; cell < counts_.size(); ++cell) {
    const double fair = kEnds[cell] - begin;
    const double count = static_cast<double>(counts_[cell]);
    log += std::lgamma(kPrior * fair + count) - std::lgamma(kPrior * fair) - count * std::log(fair);
    begin = kEnds[cell];
  }
  return log;
}

}  // namespace unlearn
