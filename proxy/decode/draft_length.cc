#include "proxy/decode/draft_length.h"

#include <algorithm>
#include <cmath>

namespace unlearn {
namespace {

constexpr double kKeptOfCosts = 0.95;    // at each call
constexpr double kKeptOfOutcomes = 0.9;  // at each verification
constexpr double kLeastSpread = 1e-3;    // of positions, squared: below it there is no slope
constexpr int kTokensBeforeATrial = 32;

}  // namespace

void DraftCosts::SawCall(int64_t positions, double seconds) {
  const double x = static_cast<double>(positions);
  const auto fold = [](double& sum, double value) { sum = kKeptOfCosts * sum + value; };
  fold(weight_, 1);
  fold(positions_, x);
  fold(seconds_, seconds);
  fold(positions_squared_, x * x);
  fold(positions_seconds_, x * seconds);
}

void DraftCosts::SawPass(double seconds) {
  pass_ = pass_ == 0 ? seconds : pass_ + (1 - kKeptOfCosts) * (seconds - pass_);
}

double DraftCosts::Call(int64_t positions) const {
  if (weight_ == 0) return 0;
  const double mean = positions_ / weight_;
  const double mean_seconds = seconds_ / weight_;
  const double spread = positions_squared_ / weight_ - mean * mean;
  const double slope =
      spread < kLeastSpread
          ? 0
          : std::max(0.0, (positions_seconds_ / weight_ - mean * mean_seconds) / spread);
  return std::max(0.0, mean_seconds + slope * (static_cast<double>(positions) - mean));
}

int DraftLength::Next(const DraftCosts& costs) {
  const double agreement = this->agreement();
  const int least = drafts_only_ ? 1 : 0;
  int best = least;
  double best_rate = -1;
  for (int drafts = least; drafts <= kMost; ++drafts) {
    // 1 + a + a² + …: drafts that stand, and the token after them.
    double tokens = 1, stands = 1;
    for (int i = 0; i < drafts; ++i) tokens += stands *= agreement;
    // The pair runs the last draft while M is asked.
    const double seconds = drafts * costs.pass() + std::max(costs.pass(), costs.Call(drafts + 1));
    const double rate = seconds > 0 ? tokens / seconds : (drafts == least ? 1 : 0);
    if (rate > best_rate) {
      best = drafts;
      best_rate = rate;
    }
  }
  if (best > 0) {
    without_ = 0;
    return best;
  }
  // Worth a look only where perfect drafts would pay.
  const bool may_pay = 2 / (costs.pass() + std::max(costs.pass(), costs.Call(2))) >
                       1 / std::max(costs.pass(), costs.Call(1));
  if (++without_ < kTokensBeforeATrial || costs.Call(1) == 0 || !may_pay) return 0;
  without_ = 0;
  return 1;
}

void DraftLength::Verified(int drafted, int stood) {
  if (drafted == 0) return;
  stood_ = kKeptOfOutcomes * stood_ + stood;
  compared_ = kKeptOfOutcomes * compared_ + stood + (stood < drafted ? 1 : 0);
}

}  // namespace unlearn
