#include "offset/combine/verify/weighted_mean.h"

#include <algorithm>
#include <cmath>

namespace unlearn {
namespace {

// sum over items of (weight that makes it largest) * (value - mean), rounded up. The mean of all
// admissible weights is at most `mean` iff this is at most 0.
double LargestExcess(absl::Span<const WeightedValue> items, double mean) {
  Interval sum = Interval::Point(0);
  for (const WeightedValue& item : items) {
    const double weight = item.value.hi > mean ? item.weight.hi : item.weight.lo;
    sum += Interval::Point(weight) * (Interval::Point(item.value.hi) - Interval::Point(mean));
  }
  return sum.hi;
}

double SmallestExcess(absl::Span<const WeightedValue> items, double mean) {
  Interval sum = Interval::Point(0);
  for (const WeightedValue& item : items) {
    const double weight = item.value.lo < mean ? item.weight.hi : item.weight.lo;
    sum += Interval::Point(weight) * (Interval::Point(item.value.lo) - Interval::Point(mean));
  }
  return sum.lo;
}

// The fixed point of mean -> mean under the weights that are best against it (Dinkelbach), in plain
// arithmetic. `sign` 1 for the largest mean, -1 for the smallest.
double NearExtreme(absl::Span<const WeightedValue> items, double start, int sign) {
  double mean = start;
  for (int round = 0; round < 50; ++round) {
    double numerator = 0;
    double denominator = 0;
    for (const WeightedValue& item : items) {
      const double value = sign > 0 ? item.value.hi : item.value.lo;
      const double weight = sign * (value - mean) > 0 ? item.weight.hi : item.weight.lo;
      numerator += weight * value;
      denominator += weight;
    }
    const double next = denominator > 0 ? numerator / denominator : mean;
    if (!(sign * (next - mean) > 1e-15 * mean)) break;
    mean = next;
  }
  return mean;
}

}  // namespace

Interval WeightedMean(absl::Span<const WeightedValue> items) {
  Interval span = {INFINITY, 0};
  for (const WeightedValue& item : items) {
    if (item.weight.hi <= 0) continue;
    span.lo = std::min(span.lo, item.value.lo);
    span.hi = std::max(span.hi, item.value.hi);
  }
  // What plain arithmetic found is moved outward until directed rounding agrees; at the latest the
  // span of the values does.
  Interval mean = span;
  const double high = NearExtreme(items, span.lo, 1);
  for (double slack = 1e-14; slack < 1; slack *= 16) {
    const double candidate = high * (1 + slack);
    if (candidate >= span.hi) break;
    if (LargestExcess(items, candidate) <= 0) {
      mean.hi = candidate;
      break;
    }
  }
  const double low = NearExtreme(items, span.hi, -1);
  for (double slack = 1e-14; slack < 1; slack *= 16) {
    const double candidate = low * (1 - slack);
    if (candidate <= span.lo) break;
    if (SmallestExcess(items, candidate) >= 0) {
      mean.lo = candidate;
      break;
    }
  }
  return mean;
}

}  // namespace unlearn
