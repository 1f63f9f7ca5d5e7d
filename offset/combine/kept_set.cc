#include "offset/combine/kept_set.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

namespace unlearn {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();

// Up to so many candidates are sorted rather than narrowed down further.
constexpr size_t kFewCandidates = 256;

// The smallest finite logit that is not below `floor`.
float LeastFrom(double floor) {
  if (floor <= kLowest) return kLowest;
  const float rounded = static_cast<float>(floor);
  return rounded < floor ? std::nextafter(rounded, kInfinity) : rounded;
}

// Thresholds at equal distances: the first is `low`, the last lies below `high`.
std::array<float, kThresholds> Between(double low, double high) {
  std::array<float, kThresholds> thresholds;
  for (size_t i = 0; i < kThresholds; ++i) {
    thresholds[i] = static_cast<float>(low + (high - low) * i / kThresholds);
  }
  return thresholds;
}

// The lowest finite logit of every 64th block.
float LowestOfSample(const VocabRow& row) {
  float lowest = row.highest;
  for (size_t b = 0; b < BlocksOf(row.vocab); b += 64) {
    for (size_t i = b * kVocabBlock; i < (b + 1) * kVocabBlock; ++i) {
      if (row.logits[i] >= kLowest) lowest = std::min(lowest, row.logits[i]);
    }
  }
  return lowest;
}

}  // namespace

LastKept KeptSetFinder::Find(const VocabRow& row, const SamplingOptions& options) {
  LastKept kept;
  if (options.temperature == 0) return kept;
  kept.logit = LeastFrom(MinPFloor(row.highest, options));
  const bool by_top_p = options.top_p < 1;
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < row.vocab) {
    kept = TopK(row, kept.logit, options.top_k);
    return by_top_p ? TopPOfCandidates(row.highest, options) : kept;
  }
  if (!by_top_p) return kept;
  // After min-p, often only a few are left.
  const auto highest = row.BlockHighest();
  const auto blocks = std::count_if(highest.begin(), highest.end(),
                                    [&](float block) { return block >= kept.logit; });
  if (static_cast<size_t>(blocks) * kVocabBlock <= 16 * kFewCandidates) {
    GatherFrom(row, kept.logit);
    return TopPOfCandidates(row.highest, options);
  }
  return TopPOfRow(row, kept.logit, options);
}

void KeptSetFinder::GatherFrom(const VocabRow& row, float least) {
  candidates_.clear();
  for (size_t b = 0; b < BlocksOf(row.vocab); ++b) {
    if (row.block_highest[b] < least) continue;
    for (size_t i = b * kVocabBlock; i < (b + 1) * kVocabBlock; ++i) {
      if (row.logits[i] >= least) candidates_.push_back({row.logits[i], static_cast<int32_t>(i)});
    }
  }
}

// Leaves the k most likely in candidates_, or all where there are fewer; returns the last of them.
LastKept KeptSetFinder::TopK(const VocabRow& row, float least, size_t k) {
  // k blocks hold a token each that is not below the k-th of the blocks' maxima.
  if (k <= BlocksOf(row.vocab)) {
    block_order_.assign(row.BlockHighest().begin(), row.BlockHighest().end());
    const auto kth = block_order_.begin() + (k - 1);
    std::nth_element(block_order_.begin(), kth, block_order_.end(), std::greater<float>());
    least = std::max(least, *kth);
  }
  GatherFrom(row, least);
  if (candidates_.size() > k) {
    std::nth_element(candidates_.begin(), candidates_.begin() + k, candidates_.end(), MoreLikely);
    candidates_.resize(k);
  }
  const auto last = std::max_element(candidates_.begin(), candidates_.end(), MoreLikely);
  return {last->logit, last->id};
}

// The reference's own arithmetic, on candidates_.
LastKept KeptSetFinder::TopPOfCandidates(float highest, const SamplingOptions& options) {
  std::sort(candidates_.begin(), candidates_.end(), MoreLikely);
  const double inverse = 1.0 / options.temperature;
  double total = 0;
  for (const Candidate& c : candidates_) {
    total += std::exp(TemperedLogit(c.logit, highest, inverse));
  }
  double sum = 0;
  LastKept last;
  for (const Candidate& c : candidates_) {
    last = {c.logit, c.id};
    sum += std::exp(TemperedLogit(c.logit, highest, inverse));
    if (!(sum < options.top_p * total)) break;
  }
  return last;
}

// Sums in fp32 narrow the candidates down to a few; which of those is the last is decided with the
// fp32 sums if their error allows, then with sums in double, then by the reference.
LastKept KeptSetFinder::TopPOfRow(const VocabRow& row, float least,
                                  const SamplingOptions& options) {
  // Below, 1 / T is no fp32 number.
  if (options.temperature >= std::numeric_limits<float>::min()) {
    Bracket bracket = FindBracket(row, least, options);
    absl::optional<LastKept> last = DecideTopP(bracket, kMassError, row.highest, options);
    if (last.has_value()) return *last;
    const TwoMasses masses = PreciseMassesFrom(row.logits, PaddedVocab(row.vocab), row.highest,
                                               1.0 / options.temperature, least, bracket.high);
    bracket.total = masses.first;
    bracket.above = masses.second;
    last = DecideTopP(bracket, PreciseMassError(row.vocab), row.highest, options);
    if (last.has_value()) return *last;
  }
  ++sorted_rows_;
  const int32_t last = KeptTokens(row.Logits(), options).back();
  return {row.logits[last], last};
}

// Leaves the tokens of the bracket in candidates_, the most likely first.
KeptSetFinder::Bracket KeptSetFinder::FindBracket(const VocabRow& row, float least,
                                                  const SamplingOptions& options) {
  const size_t padded = PaddedVocab(row.vocab);
  if (room_ < padded) {
    room_ = padded;
    values_ = hwy::AllocateAligned<float>(padded + kVocabBlock);
    ids_.resize(padded + kVocabBlock);
  }
  Bracket bracket;
  bracket.low = least;
  bracket.high = kInfinity;
  // Where to look first. All tokens below the bottom have less than the share that top-p may leave
  // out, even if they all lay at it. The bracket is right whatever the thresholds are.
  const float scale = 1 / options.temperature;
  std::array<float, kThresholds> thresholds;
  thresholds.fill(least);
  std::array<double, kThresholds> masses;
  MassesFrom(row.block_highest, PaddedVocab(BlocksOf(row.vocab)), row.highest, scale, thresholds,
             masses);
  const double left_out = (1.0 - options.top_p) * masses[0];
  const double reach = options.temperature * std::log(row.vocab / left_out);
  const double bottom = std::max<double>(LowestOfSample(row), row.highest - reach);
  thresholds = Between(std::max<double>(least, bottom), row.highest);
  thresholds[0] = least;
  const float* values = row.logits;
  const int32_t* ids = nullptr;
  size_t count = row.vocab;
  for (bool first = true; first || count > kFewCandidates; first = false) {
    MassesFrom(values, PaddedVocab(count), row.highest, scale, thresholds, masses);
    if (first) bracket.total = masses[0];
    const double target = options.top_p * bracket.total;
    const double margin = 2 * kMassError * bracket.total;
    const Bracket before = bracket;
    for (size_t i = 0; i < kThresholds; ++i) {
      const double mass = before.above + masses[i];
      if (mass >= target + margin) bracket.low = std::max(bracket.low, thresholds[i]);
      if (mass <= target - margin) {
        bracket.high = thresholds[i];
        bracket.above = mass;
        break;
      }
    }
    count = SelectRange(values, ids, PaddedVocab(count), bracket.low, bracket.high, values_.get(),
                        ids_.data());
    values = values_.get();
    ids = ids_.data();
    // Equal logits, or masses too close to tell.
    if (!first && bracket.low == before.low && bracket.high == before.high) break;
    thresholds = Between(bracket.low, std::min(bracket.high, row.highest));
  }
  candidates_.clear();
  for (size_t i = 0; i < count; ++i) candidates_.push_back({values[i], ids[i]});
  std::sort(candidates_.begin(), candidates_.end(), MoreLikely);
  return bracket;
}

// Adds the bracket's candidates to the mass above them until the sum reaches top-p of the total;
// nothing if it comes so close that sums which are off by `error` of the total may differ.
absl::optional<LastKept> KeptSetFinder::DecideTopP(const Bracket& bracket, double error,
                                                   float highest,
                                                   const SamplingOptions& options) const {
  const double inverse = 1.0 / options.temperature;
  const double target = options.top_p * bracket.total;
  const double margin = 2 * error * bracket.total;
  double sum = bracket.above;
  for (const Candidate& c : candidates_) {
    sum += std::exp(TemperedLogit(c.logit, highest, inverse));
    if (sum >= target + margin) return LastKept{c.logit, c.id};
    if (sum > target - margin) break;
  }
  return absl::nullopt;
}

}  // namespace unlearn
