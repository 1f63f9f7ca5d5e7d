#include "offset/combine/verify/unknown_tokens.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace unlearn {

Interval TemperedUnits(Interval units, double count, Interval exponent) {
  if (count == 0 || units.hi <= 0) return Interval::Point(0);
  if (exponent.lo == 1 && exponent.hi == 1) return units;
  // floor and the remainder of a double are exact.
  const auto concentrated = [&](double total) {
    const double whole = std::floor(total);
    return Interval::Point(whole) + Pow(Interval::Point(total - whole), exponent);
  };
  const auto even = [&](double total) {
    const Interval share = Interval::Point(total) / Interval::Point(count);
    return Interval::Point(count) * Pow(Min(share, Interval::Point(1)), exponent);
  };
  // Only a double's rounding can make an exponent be on both sides of 1; both bounds hold then.
  const bool convex = exponent.hi > 1;
  const bool concave = exponent.lo < 1;
  Interval result = {INFINITY, 0};
  if (convex) result = {even(units.lo).lo, concentrated(units.hi).hi};
  if (concave) {
    result.lo = std::min(result.lo, concentrated(units.lo).lo);
    result.hi = std::max(result.hi, even(units.hi).hi);
  }
  return {std::max(0.0, result.lo), std::min(result.hi, count)};
}

UnknownTokens::UnknownTokens(const ModelKnowledge& model, const PairKnowledge& pair,
                             double temperature)
    : count_(model.unknown()) {
  if (count_ == 0) return;
  const Interval one = Exp(Interval::Point(model.unknown_cap()));
  // A cap of probability 0 leaves no mass; a cap that underflows in double leaves none to speak of,
  // and one unit for each token still bounds it.
  Interval units = model.unknown_mass() / one;
  if (model.unknown_mass().hi == 0) units = Interval::Point(0);
  units.hi = std::min(units.hi, count_);
  units.lo = std::min(units.lo, units.hi);
  const Interval scale = Interval::Point(temperature);
  units_ = TemperedUnits(units, count_, Interval::Point(model.temperature()) / scale);

  if (!pair.all_rows) {
    tilt_ = BoundedEffect(pair) / scale;
    return;
  }
  // One pass with plain arithmetic; its rounding goes into the error of every tilt.
  const double alpha = static_cast<float>(pair.alpha);
  tilts_.reserve(model.unknown());
  double largest = 0;
  for (int32_t id = 0; id < model.vocabulary(); ++id) {
    tilts_.push_back(alpha * pair.delta[id] / temperature);
  }
  // Take the known ones out: the last takes the place of the one removed.
  std::vector<int32_t> known(model.ids().begin(), model.ids().end());
  std::sort(known.begin(), known.end(), std::greater<int32_t>());
  for (const int32_t id : known) {
    tilts_[id] = tilts_.back();
    tilts_.pop_back();
  }
  double lowest = INFINITY;
  double highest = -INFINITY;
  for (const double tilt : tilts_) {
    lowest = std::min(lowest, tilt);
    highest = std::max(highest, tilt);
    largest = std::max(largest, std::abs(tilt));
  }
  const Interval error = Interval::Point(pair.error) / scale +
                         Interval::Point(largest) * Interval::Point(std::ldexp(1.0, -50));
  tilt_error_ = error.hi;
  tilt_ = Interval{lowest, highest} + Interval::Around0(tilt_error_);
}

double UnknownTokens::Fill(double units, bool highest, Value value) {
  if (units <= 0) return 0;
  const auto at = [&](double tilt) {
    return highest
               ? std::max(0.0, value((Interval::Point(tilt) + Interval::Point(tilt_error_)).hi).hi)
               : std::max(0.0, value((Interval::Point(tilt) - Interval::Point(tilt_error_)).lo).lo);
  };
  if (tilts_.empty()) {
    const Interval total =
        Interval::Point(units) * (highest ? Interval::Point(std::max(0.0, value(tilt_.hi).hi))
                                          : Interval::Point(std::max(0.0, value(tilt_.lo).lo)));
    return highest ? total.hi : total.lo;
  }
  const double whole = std::floor(units);
  const size_t full = std::min(static_cast<size_t>(whole), tilts_.size());
  if (full < tilts_.size()) {
    if (highest) {
      std::nth_element(tilts_.begin(), tilts_.begin() + full, tilts_.end(), std::greater<double>());
    } else {
      std::nth_element(tilts_.begin(), tilts_.begin() + full, tilts_.end());
    }
  }
  double sum = 0;
  for (size_t i = 0; i < full; ++i) sum += at(tilts_[i]);
  if (full < tilts_.size()) sum += (units - whole) * at(tilts_[full]);
  // Each of full + 1 additions and the product err by at most 2^-53 of the sum.
  const double slack = (full + 4.0) * std::ldexp(1.0, -52);
  return highest ? sum * (1 + slack) : sum * (1 - slack);
}

Interval UnknownTokens::Sum(Value value) {
  if (none()) return Interval::Point(0);
  return {std::max(0.0, Fill(units_.lo, false, value)), Fill(units_.hi, true, value)};
}

Interval UnknownTokens::Mean(Value value) {
  if (none()) return Interval::Point(0);
  // The mean over the highest tilts falls with their number: at the fewest units it bounds all.
  // With less than a unit it is the highest itself.
  const double lowest = std::max(0.0, value(tilt_.lo).lo);
  const double highest = std::max(0.0, value(tilt_.hi).hi);
  if (units_.lo < 1 || tilts_.empty()) return {lowest, highest};
  const Interval units = Interval::Point(units_.lo);
  return {std::max(lowest, (Interval::Point(Fill(units_.lo, false, value)) / units).lo),
          std::min(highest, (Interval::Point(Fill(units_.lo, true, value)) / units).hi)};
}

}  // namespace unlearn
