#include "offset/combine/verify/stream_verifier.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "offset/combine/verify/weighted_mean.h"

namespace unlearn {
namespace {

// What VerifyStreamedRow's double arithmetic may be off by, relatively. Comparisons keep this away
// from it, so that no rounding can make the two disagree.
constexpr double kRounding = 1e-9;

// Pieces that Z's interval is cut into when it does not decide as a whole: in each piece all
// residuals move together, so the walk is certain more often. The truth lies in one of them.
constexpr int kPieces = 8;

// residual / weight = max(0, 1 - Z / gain), Z and gain within their bounds.
Interval ResidualShare(Interval normaliser, Interval gain) {
  const Interval share = Interval::Point(1) - normaliser / gain;
  return Max(share, Interval::Point(0));
}

}  // namespace

StreamVerifier::StreamVerifier(const ModelKnowledge& model, const PairKnowledge& pair,
                               const SamplingOptions& options)
    : model_(model),
      options_(options),
      at_one_(model, pair, 1),
      bounds_(options.temperature == 0 || options.temperature == 1
                  ? at_one_
                  : EnsembleBounds(model, pair, options.temperature)) {}

absl::StatusOr<StreamVerifier> StreamVerifier::Create(const ModelKnowledge& model,
                                                      const PairKnowledge& pair,
                                                      const SamplingOptions& options,
                                                      absl::Span<const int32_t> earlier) {
  if (absl::Status status = CheckSamplingOptions(options); !status.ok()) return status;
  if (absl::Status status = CheckPairKnowledge(model, pair); !status.ok()) return status;
  StreamVerifier verifier(model, pair, options);
  if (options.temperature == 0) return verifier;

  const size_t known = model.ids().size();
  std::vector<bool> placed(known, false);
  for (const int32_t id : earlier) {
    const int index = model.IndexOf(id);
    if (index < 0 || placed[index]) {
      return absl::InvalidArgumentError(absl::StrCat("id ", id, " of the earlier knowledge is ",
                                                     index < 0 ? "not known now" : "there twice",
                                                     "; ask for more tokens, not for others"));
    }
    placed[index] = true;
    verifier.order_.push_back(index);
  }
  for (size_t i = 0; i < known; ++i) {
    if (!placed[i]) verifier.order_.push_back(static_cast<int>(i));
  }

  EnsembleBounds& bounds = verifier.bounds_;
  verifier.kept_ = CertifyKeptSet(bounds, options);
  const KeptSet& kept = verifier.kept_;
  const auto masked = [](Membership membership, Interval value) {
    if (membership == Membership::kIn) return value;
    return Interval{0, membership == Membership::kOut ? 0 : value.hi};
  };
  std::vector<WeightedValue> items(known);
  for (size_t i = 0; i < known; ++i) {
    const EnsembleBounds::Token& token = bounds.tokens()[i];
    items[i] = {token.reference, masked(kept.tokens[i], token.gain)};
  }
  const Interval gain_shift = Interval::Point(bounds.gain_shift());
  if (!bounds.all_known()) {
    const Interval gain =
        bounds.unknown().Mean([&](double tilt) { return Exp(Interval::Point(tilt) - gain_shift); });
    items.push_back({bounds.unknown_reference(), masked(kept.unknown, gain)});
  }
  Interval& normaliser = verifier.normaliser_;
  normaliser = WeightedMean(items);
  if (kept.undecided) {
    // Whichever tokens are kept, together they weigh something: Z = (their weight) / (all
    // reference).
    Interval all = Interval::Point(0);
    for (const WeightedValue& item : items) all += item.weight;
    const Interval unit = Exp(Interval::Point(bounds.weight_shift()) - gain_shift);
    const Interval least = Interval::Point(kept.least_weight) * unit / all;
    normaliser.lo = std::min(std::max(normaliser.lo, least.lo), normaliser.hi);
  }
  if (kept.unknown != Membership::kOut) {
    const Interval log_unit = bounds.unknown_log_unit() - Interval::Point(bounds.weight_shift());
    const Interval residual = bounds.unknown().Sum([&](double tilt) {
      return Exp(log_unit + Interval::Point(tilt)) *
             ResidualShare(normaliser, Exp(Interval::Point(tilt) - gain_shift));
    });
    verifier.unknown_residual_ = masked(kept.unknown, residual);
  }
  return verifier;
}

Interval StreamVerifier::Acceptance(int index) const {
  const Membership membership = kept_.tokens[index];
  if (membership == Membership::kOut) return Interval::Point(0);
  const Interval ratio = Min(bounds_.tokens()[index].gain / normaliser_, Interval::Point(1));
  return membership == Membership::kIn ? ratio : Interval{0, ratio.hi};
}

int StreamVerifier::Walk(int sampled, Interval normaliser, const std::vector<double>& odds,
                         std::vector<Interval>& residual, std::vector<Interval>& rest) const {
  Interval sum = unknown_residual_;
  for (size_t place = order_.size(); place-- > 0;) {
    const int index = order_[place];
    const EnsembleBounds::Token& token = bounds_.tokens()[index];
    Interval own = Interval::Point(0);
    // x was rejected, so p(x) < p_M(x) and it has no residual.
    if (index != sampled && kept_.tokens[index] != Membership::kOut) {
      own = token.weight * ResidualShare(normaliser, token.gain);
      if (kept_.tokens[index] == Membership::kUndecided) own.lo = 0;
    }
    rest[place] = sum;
    residual[place] = own;
    sum += own;
  }
  for (size_t place = 0; place < order_.size(); ++place) {
    if (residual[place].hi == 0) continue;
    const double chance = odds[place];
    if (rest[place].hi * (1 + kRounding) < chance * residual[place].lo) return order_[place];
    if (!(rest[place].lo >= chance * residual[place].hi * (1 + kRounding))) return -1;
  }
  return -1;
}

int StreamVerifier::Replacement(int sampled, const NoiseKey& key) const {
  std::vector<double> odds(order_.size());
  for (size_t place = 0; place < order_.size(); ++place) {
    if (kept_.tokens[order_[place]] == Membership::kOut) continue;
    odds[place] = ResidualOdds(key, model_.ids()[order_[place]]);
  }
  std::vector<Interval> residual(order_.size());
  std::vector<Interval> rest(order_.size());
  const int whole = Walk(sampled, normaliser_, odds, residual, rest);
  if (whole >= 0 || !(normaliser_.lo > 0)) return whole;
  int answer = -1;
  double low = normaliser_.lo;
  for (int piece = 1; piece <= kPieces; ++piece) {
    const double high = piece == kPieces
                            ? normaliser_.hi
                            : normaliser_.lo + (normaliser_.hi - normaliser_.lo) * piece / kPieces;
    const int index = Walk(sampled, {low, std::max(low, high)}, odds, residual, rest);
    if (index < 0 || (answer >= 0 && index != answer)) return -1;
    answer = index;
    low = high;
  }
  return answer;
}

absl::StatusOr<StreamVerdict> StreamVerifier::Verify(int32_t sampled,
                                                     const StreamDraw& draw) const {
  const int index = model_.IndexOf(sampled);
  if (index < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("M drew id ", sampled,
                     ", which is not among the tokens with known log-probs; ask the "
                     "upstream server for the sampled token's log-prob, too"));
  }
  if (!(draw.uniform >= 0 && draw.uniform < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("uniform draw is ", draw.uniform, ", must be within [0, 1)"));
  }
  StreamVerdict verdict;
  verdict.truncated_mass = model_.unknown_mass().hi;
  if (options_.temperature == 0) {
    const Certificate greedy = CertifyGreedyToken(model_, at_one_);
    verdict.acceptance = {0, 1};
    if (!greedy.decided) return verdict;
    verdict.rejected = greedy.token != sampled;
    verdict.acceptance = Interval::Point(verdict.rejected ? 0 : 1);
    verdict.outcome = verdict.rejected ? StreamOutcome::kReplaced : StreamOutcome::kAccepted;
    verdict.token = greedy.token;
    verdict.logprob = greedy.logprob;
    return verdict;
  }
  verdict.acceptance = Acceptance(index);
  int emitted = -1;
  if (verdict.acceptance.lo >= 1 || draw.uniform < verdict.acceptance.lo * (1 - kRounding)) {
    verdict.outcome = StreamOutcome::kAccepted;
    emitted = index;
  } else if (draw.uniform >= verdict.acceptance.hi * (1 + kRounding)) {
    verdict.rejected = true;
    emitted = Replacement(index, draw.residual);
    if (emitted >= 0) verdict.outcome = StreamOutcome::kReplaced;
  }
  if (emitted >= 0) {
    verdict.token = model_.ids()[emitted];
    verdict.logprob = at_one_.Logprob(emitted);
  }
  return verdict;
}

}  // namespace unlearn
