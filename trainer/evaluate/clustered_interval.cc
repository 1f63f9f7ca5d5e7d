#include "trainer/evaluate/clustered_interval.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace unlearn {
namespace {

struct Cluster {
  double sum = 0;
  int items = 0;
};

// Uniform in [0, bound). std::uniform_int_distribution differs between standard libraries.
uint64_t UniformBelow(uint64_t bound, std::mt19937_64& random) {
  const uint64_t limit = std::numeric_limits<uint64_t>::max() / bound * bound;
  uint64_t draw;
  do {
    draw = random();
  } while (draw >= limit);
  return draw % bound;
}

// Linear between the two nearest order statistics of a sorted, non-empty sample.
double Quantile(const std::vector<double>& sorted, double share) {
  const double position = share * (sorted.size() - 1);
  const size_t below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
}

// In order of first appearance, so that the result does not hang on a hash table's order.
std::vector<Cluster> SumsByCluster(absl::Span<const double> scores,
                                   absl::Span<const absl::string_view> names) {
  std::vector<Cluster> clusters;
  absl::flat_hash_map<absl::string_view, size_t> index;
  for (size_t i = 0; i < scores.size(); ++i) {
    const auto [it, is_new] = index.try_emplace(names[i], clusters.size());
    if (is_new) clusters.emplace_back();
    clusters[it->second].sum += scores[i];
    ++clusters[it->second].items;
  }
  return clusters;
}

}  // namespace

absl::StatusOr<ClusteredInterval> MeanWithClusteredInterval(
    absl::Span<const double> scores, absl::Span<const absl::string_view> clusters, uint64_t seed,
    int resamples) {
  if (scores.empty()) {
    return absl::InvalidArgumentError("an interval was asked for over no items");
  }
  if (scores.size() != clusters.size()) {
    return absl::InvalidArgumentError(absl::StrCat("an interval over ", scores.size(),
                                                   " scores got ", clusters.size(),
                                                   " cluster names; give one a score"));
  }
  if (resamples < 100) {
    return absl::InvalidArgumentError(absl::StrCat("a 95 % interval from ", resamples,
                                                   " resamples means nothing; take 100 or more"));
  }
  double sum = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!std::isfinite(scores[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("scores[", i, "] is ", scores[i], ", not a finite number"));
    }
    sum += scores[i];
  }
  const std::vector<Cluster> sums = SumsByCluster(scores, clusters);
  ClusteredInterval interval;
  interval.mean = sum / scores.size();
  interval.items = scores.size();
  interval.clusters = sums.size();
  if (sums.size() < 2) return interval;

  std::mt19937_64 random(seed);
  std::vector<double> means(resamples);
  for (double& mean : means) {
    Cluster drawn;
    for (size_t i = 0; i < sums.size(); ++i) {
      const Cluster& cluster = sums[UniformBelow(sums.size(), random)];
      drawn.sum += cluster.sum;
      drawn.items += cluster.items;
    }
    mean = drawn.sum / drawn.items;
  }
  std::sort(means.begin(), means.end());
  interval.low = Quantile(means, 0.025);
  interval.high = Quantile(means, 0.975);
  return interval;
}

}  // namespace unlearn
