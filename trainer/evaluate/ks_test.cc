#include "trainer/evaluate/ks_test.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "offset/base/status_macros.h"

namespace unlearn {
namespace {

constexpr int64_t kMaxSizeProduct = 400'000'000;

absl::Status CheckSample(absl::string_view what, absl::Span<const double> sample) {
  if (sample.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", what, " sample of the Kolmogorov-Smirnov test is empty"));
  }
  for (size_t i = 0; i < sample.size(); ++i) {
    if (std::isnan(sample[i])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the ", what, " sample of the Kolmogorov-Smirnov test holds a NaN at index ", i));
    }
  }
  return absl::OkStatus();
}

// D * m * n, an integer: the largest |i n - j m| over the distinct values, i and j being how many
// of the first and of the second sample are not above one.
int64_t ScaledStatistic(absl::Span<const double> first, absl::Span<const double> second) {
  std::vector<double> a(first.begin(), first.end());
  std::vector<double> b(second.begin(), second.end());
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  const int64_t m = a.size();
  const int64_t n = b.size();
  int64_t largest = 0;
  int64_t i = 0;
  int64_t j = 0;
  while (i < m && j < n) {
    const double value = std::min(a[i], b[j]);
    while (i < m && a[i] == value) ++i;
    while (j < n && b[j] == value) ++j;
    largest = std::max(largest, std::abs(i * n - j * m));
  }
  return largest;
}

// Under the null hypothesis the merged order of both samples is a uniformly random lattice path
// from (0, 0) to (m, n), and D * m * n >= bound iff the path touches |i n - j m| >= bound. The
// chance that it has not, walked forward one column at a time; what touches is added up at once.
// Sums of positive terms only, so that tiny p-values keep their digits; long double because a
// path's own chance falls below the range of a double.
long double TouchProbability(int64_t m, int64_t n, int64_t bound) {
  // inside[j]: the chance to come to (i, j) without having touched.
  std::vector<long double> inside(n + 1, 0.0L);
  long double touched = 0;
  for (int64_t i = 0; i <= m; ++i) {
    // Chances enter column i only from cells inside the band of column i - 1, and climb from
    // there to one cell above the band of column i.
    const int64_t low = std::max<int64_t>(0, ((i - 1) * n - bound) / m);
    const int64_t high = std::min<int64_t>(n, (i * n + bound) / m + 1);
    for (int64_t j = low; j <= high; ++j) {
      long double chance = i == 0 && j == 0 ? 1.0L : 0.0L;
      if (i > 0) chance += inside[j] * (m - i + 1) / (m + n - i - j + 1);
      if (j > low) chance += inside[j - 1] * (n - j + 1) / (m + n - i - j + 1);
      if (std::abs(i * n - j * m) >= bound) {
        touched += chance;
        chance = 0;
      }
      inside[j] = chance;
    }
  }
  return touched;
}

}  // namespace

absl::StatusOr<KsTestResult> KsTest(absl::Span<const double> first,
                                    absl::Span<const double> second) {
  RETURN_IF_ERROR(CheckSample("first", first));
  RETURN_IF_ERROR(CheckSample("second", second));
  const int64_t m = first.size();
  const int64_t n = second.size();
  if (m > kMaxSizeProduct / n) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the Kolmogorov-Smirnov test got samples of ", m, " and ", n,
        " values; the product may be ", kMaxSizeProduct, " at most; draw smaller samples"));
  }
  const int64_t scaled = ScaledStatistic(first, second);
  KsTestResult result;
  if (scaled == 0) return result;
  result.statistic = static_cast<double>(scaled) / (m * n);
  result.p_value = static_cast<double>(std::min(1.0L, TouchProbability(m, n, scaled)));
  return result;
}

}  // namespace unlearn
