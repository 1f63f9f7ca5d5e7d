#include "tools/bench_runner/compare.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/base/status_macros.h"

namespace unlearn {

absl::StatusOr<RoundSeconds> Compare(absl::Span<const Contender> contenders,
                                     const CompareOptions& options) {
  const std::function<absl::Time()> now = options.now ? options.now : [] { return absl::Now(); };
  if (options.rounds < 1) {
    return absl::InvalidArgumentError(absl::StrCat("--rounds is ", options.rounds, ", not >= 1"));
  }
  std::vector<int64_t> repetitions;
  for (const Contender& contender : contenders) {
    RETURN_IF_ERROR(contender.run());  // first touches of memory, threads that start
    const absl::Time start = now();
    int64_t count = 0;
    do {
      RETURN_IF_ERROR(contender.run());
      ++count;
    } while (now() - start < options.least);
    repetitions.push_back(count);
  }
  RoundSeconds seconds(contenders.size());
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t i = 0; i < contenders.size(); ++i) {
      const absl::Time start = now();
      for (int64_t r = 0; r < repetitions[i]; ++r) RETURN_IF_ERROR(contenders[i].run());
      seconds[i].push_back(absl::ToDoubleSeconds(now() - start) / repetitions[i]);
    }
  }
  return seconds;
}

double QuantileOf(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double place = share * (values.size() - 1);
  const size_t below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - below) * (values[above] - values[below]);
}

Spread SpreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {QuantileOf(values, 0.5), QuantileOf(values, 0.25), QuantileOf(values, 0.75)};
}

Spread RatioOf(absl::Span<const double> numerator, absl::Span<const double> denominator) {
  std::vector<double> ratios;
  for (size_t i = 0; i < numerator.size(); ++i) ratios.push_back(numerator[i] / denominator[i]);
  return SpreadOf(std::move(ratios));
}

}  // namespace unlearn
