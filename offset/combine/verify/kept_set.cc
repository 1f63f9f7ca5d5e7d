#include "offset/combine/verify/kept_set.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace unlearn {
namespace {

constexpr double kRounding = 1e-6;

using Token = EnsembleBounds::Token;

// The known tokens sorted by one end of their scores, highest first, to count and to sum those
// ahead of and behind a token.
class Certifier {
 public:
  Certifier(const EnsembleBounds& bounds, const SamplingOptions& options)
      : bounds_(bounds), options_(options), by_low_(Sorted(false)), by_high_(Sorted(true)) {}

  KeptSet Certify() {
    KeptSet kept;
    kept.tokens.resize(bounds_.tokens().size());
    for (size_t i = 0; i < kept.tokens.size(); ++i) kept.tokens[i] = BeforeTopP(i);
    kept.unknown = UnknownBeforeTopP();
    const bool by_top_p = options_.top_p < 1;
    kept.least_weight = 0;
    for (const Token& token : bounds_.tokens()) {
      kept.least_weight = std::max(kept.least_weight, token.weight.lo);
    }
    if (by_top_p) {
      SumUp(kept);
      // The nucleus has at least top_p of what top-k left.
      kept.least_weight =
          std::max(kept.least_weight, certain_.lo * options_.top_p * (1 - kRounding));
      const std::vector<Membership> before = kept.tokens;
      const Membership unknown_before = kept.unknown;
      for (size_t i = 0; i < kept.tokens.size(); ++i) {
        kept.tokens[i] = TopP(i, before[i], unknown_before);
      }
      kept.unknown = UnknownTopP(unknown_before);
    }
    kept.undecided = kept.unknown == Membership::kUndecided;
    for (const Membership token : kept.tokens) kept.undecided |= token == Membership::kUndecided;
    return kept;
  }

 private:
  std::vector<int> Sorted(bool by_high) const {
    std::vector<int> order(bounds_.tokens().size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) {
      const Interval x = bounds_.tokens()[a].score;
      const Interval y = bounds_.tokens()[b].score;
      return by_high ? x.hi > y.hi : x.lo > y.lo;
    });
    return order;
  }

  // How many of by_low_ certainly score above `score`; how many of by_high_ possibly score at least
  // `score`.
  size_t CertainlyAbove(double score) const {
    return std::partition_point(by_low_.begin(), by_low_.end(),
                                [&](int i) { return bounds_.tokens()[i].score.lo > score; }) -
           by_low_.begin();
  }
  size_t PossiblyAtLeast(double score) const {
    return std::partition_point(by_high_.begin(), by_high_.end(),
                                [&](int i) { return bounds_.tokens()[i].score.hi >= score; }) -
           by_high_.begin();
  }
  bool UnknownPossiblyAtLeast(double score) const {
    return !bounds_.all_known() && bounds_.unknown_score() >= score;
  }

  Membership MinP(size_t index) const {
    if (options_.min_p <= 0) return Membership::kIn;
    const Token& token = bounds_.tokens()[index];
    const double threshold = std::log(static_cast<double>(options_.min_p));
    if (token.score.hi < bounds_.tokens()[by_low_[0]].score.lo + threshold - kRounding) {
      return Membership::kOut;
    }
    // Against the others: no token is below a share of itself.
    double other = bounds_.all_known() ? -INFINITY : bounds_.unknown_score();
    for (size_t place = 0; place < std::min<size_t>(2, by_high_.size()); ++place) {
      if (by_high_[place] != static_cast<int>(index)) {
        other = std::max(other, bounds_.tokens()[by_high_[place]].score.hi);
      }
    }
    return token.score.lo >= other + threshold + kRounding ? Membership::kIn
                                                           : Membership::kUndecided;
  }

  bool ByTopK() const {
    return options_.top_k > 0 &&
           options_.top_k < static_cast<double>(bounds_.tokens().size()) +
                                (bounds_.all_known() ? 0 : bounds_.unknown().count());
  }

  Membership BeforeTopP(size_t index) const {
    const Membership by_min_p = MinP(index);
    if (by_min_p == Membership::kOut || !ByTopK()) return by_min_p;
    const Token& token = bounds_.tokens()[index];
    if (CertainlyAbove(token.score.hi) >= static_cast<size_t>(options_.top_k)) {
      return Membership::kOut;
    }
    double ahead = static_cast<double>(PossiblyAtLeast(token.score.lo)) - 1;
    if (UnknownPossiblyAtLeast(token.score.lo)) {
      // Not more than fit into the unknown weight.
      const double fit =
          (Interval::Point(bounds_.unknown_weight().hi) / Interval::Point(token.weight.lo)).hi;
      ahead += std::min(bounds_.unknown().count(), std::floor(fit));
    }
    return ahead < options_.top_k ? by_min_p : Membership::kUndecided;
  }

  Membership UnknownBeforeTopP() const {
    if (bounds_.all_known()) return Membership::kOut;
    if (options_.min_p > 0 &&
        bounds_.unknown_score() < bounds_.tokens()[by_low_[0]].score.lo +
                                      std::log(static_cast<double>(options_.min_p)) - kRounding) {
      return Membership::kOut;
    }
    if (ByTopK() &&
        CertainlyAbove(bounds_.unknown_score()) >= static_cast<size_t>(options_.top_k)) {
      return Membership::kOut;
    }
    return options_.min_p <= 0 && !ByTopK() ? Membership::kIn : Membership::kUndecided;
  }

  // Sums over the two orders: from the front for what is ahead, from the back for what is behind
  // and was not cut off before.
  void SumUp(const KeptSet& kept) {
    const size_t n = kept.tokens.size();
    ahead_low_.assign(n + 1, 0);
    ahead_high_.assign(n + 1, 0);
    behind_low_.assign(n + 1, 0);
    behind_high_.assign(n + 1, 0);
    const auto weight = [&](int i) { return bounds_.tokens()[i].weight; };
    for (size_t i = 0; i < n; ++i) {
      ahead_low_[i + 1] = interval_internal::AddDown(ahead_low_[i], weight(by_low_[i]).lo);
      ahead_high_[i + 1] = interval_internal::AddUp(ahead_high_[i], weight(by_high_[i]).hi);
    }
    for (size_t i = n; i-- > 0;) {
      const bool certain = kept.tokens[by_high_[i]] == Membership::kIn;
      const bool possible = kept.tokens[by_low_[i]] != Membership::kOut;
      behind_low_[i] = certain
                           ? interval_internal::AddDown(behind_low_[i + 1], weight(by_high_[i]).lo)
                           : behind_low_[i + 1];
      behind_high_[i] = possible
                            ? interval_internal::AddUp(behind_high_[i + 1], weight(by_low_[i]).hi)
                            : behind_high_[i + 1];
    }
    certain_ = Interval::Point(behind_low_[0]);
    if (kept.unknown == Membership::kIn) certain_ += bounds_.unknown_weight();
  }

  // Kept iff what is ahead is less than top_p of everything, that is
  // (1 - top_p) * ahead < top_p * (own + behind).
  bool CertainlyIn(double ahead, double own_and_behind) const {
    return (1 - static_cast<double>(options_.top_p)) * ahead * (1 + kRounding) <
           options_.top_p * own_and_behind;
  }
  bool CertainlyOut(double ahead, double own_and_behind) const {
    return (1 - static_cast<double>(options_.top_p)) * ahead >
           options_.top_p * own_and_behind * (1 + kRounding);
  }

  Membership TopP(size_t index, Membership before, Membership unknown) const {
    if (before == Membership::kOut) return before;
    const Token& token = bounds_.tokens()[index];
    const size_t above = CertainlyAbove(token.score.hi);
    // The token's own weight is among those from `above` on.
    double behind = behind_high_[above];
    if (unknown != Membership::kOut) {
      behind = interval_internal::AddUp(behind, bounds_.unknown_weight().hi);
    }
    if (CertainlyOut(ahead_low_[above], behind)) return Membership::kOut;
    if (before == Membership::kUndecided) return before;
    const size_t reaching = PossiblyAtLeast(token.score.lo);
    Interval ahead = Interval::Point(ahead_high_[reaching]) - Interval::Point(token.weight.hi);
    Interval rest = Interval::Point(token.weight.lo) + Interval::Point(behind_low_[reaching]);
    if (UnknownPossiblyAtLeast(token.score.lo)) {
      ahead += bounds_.unknown_weight();
    } else if (unknown == Membership::kIn) {
      rest += bounds_.unknown_weight();
    }
    return CertainlyIn(ahead.hi, rest.lo) ? Membership::kIn : Membership::kUndecided;
  }

  Membership UnknownTopP(Membership before) const {
    if (before == Membership::kOut) return before;
    const size_t above = CertainlyAbove(bounds_.unknown_score());
    const double behind =
        interval_internal::AddUp(behind_high_[above], bounds_.unknown_weight().hi);
    return CertainlyOut(ahead_low_[above], behind) ? Membership::kOut : Membership::kUndecided;
  }

  const EnsembleBounds& bounds_;
  const SamplingOptions& options_;
  const std::vector<int> by_low_;
  const std::vector<int> by_high_;
  std::vector<double> ahead_low_;
  std::vector<double> ahead_high_;
  std::vector<double> behind_low_;
  std::vector<double> behind_high_;
  Interval certain_;
};

}  // namespace

KeptSet CertifyKeptSet(const EnsembleBounds& bounds, const SamplingOptions& options) {
  if (options.min_p <= 0 && options.top_k <= 0 && options.top_p >= 1) {
    KeptSet all;
    all.tokens.assign(bounds.tokens().size(), Membership::kIn);
    all.unknown = bounds.all_known() ? Membership::kOut : Membership::kIn;
    return all;
  }
  return Certifier(bounds, options).Certify();
}

}  // namespace unlearn
