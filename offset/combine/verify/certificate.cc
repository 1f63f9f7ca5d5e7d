#include "offset/combine/verify/certificate.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/combine/noise_search.h"
#include "offset/combine/verify/kept_set.h"

namespace unlearn {
namespace {

// Above the largest noise there is: log 64 + 53 log 2 = 40.9, a block's first arrival being a 64th
// of the smallest exponential of 52 bits.
constexpr double kLargestNoise = 50;

double TruncatedMass(const ModelKnowledge& model) { return model.unknown_mass().hi; }

// The best of those that are certainly in, and the highest end of all others that may be in.
struct Race {
  int best = -1;
  double best_low = -INFINITY;
  double rival_high = -INFINITY;
};

Race RunRace(const std::vector<Interval>& scores, const std::vector<Membership>& membership) {
  Race race;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (membership[i] == Membership::kIn && scores[i].lo > race.best_low) {
      race.best = static_cast<int>(i);
      race.best_low = scores[i].lo;
    }
  }
  for (size_t i = 0; i < scores.size(); ++i) {
    if (membership[i] != Membership::kOut && static_cast<int>(i) != race.best) {
      race.rival_high = std::max(race.rival_high, scores[i].hi);
    }
  }
  return race;
}

}  // namespace

double ScoreRounding(double largest_logit, double temperature) {
  // 1 / T, the product and the sum are rounded once each, 2^-24 of the result; twice that for an
  // implementation that orders them otherwise.
  const double scaled = largest_logit / temperature;
  return std::ldexp(3 * scaled + kLargestNoise, -23);
}

double FindLargestUnknown(const ModelKnowledge& model, const PairKnowledge& pair,
                          double temperature, const NoiseKey& key) {
  std::vector<int32_t> known(model.ids().begin(), model.ids().end());
  std::sort(known.begin(), known.end());
  const Interval divisor = Interval::Point(temperature);
  if (!pair.all_rows) {
    // All have one bound, so what counts is their noise alone.
    const double bound = (BoundedEffect(pair) / divisor).hi;
    return interval_internal::Above(bound + MaxNoiseOutside(key, model.vocabulary(), known).score);
  }
  double largest = -INFINITY;
  size_t next = 0;
  for (int32_t id = 0; id < model.vocabulary(); ++id) {
    if (next < known.size() && known[next] == id) {
      ++next;
      continue;
    }
    const double tilt = (EffectOf(pair.delta[id], pair) / divisor).hi;
    largest = std::max(largest, tilt + GumbelNoise(key, id));
  }
  return interval_internal::Above(largest);
}

Certificate CertifyGreedyToken(const ModelKnowledge& model, const EnsembleBounds& at_one) {
  Certificate certificate;
  certificate.truncated_mass = TruncatedMass(model);
  const auto& tokens = at_one.tokens();
  const auto ids = model.ids();
  int best = 0;
  for (int i = 1; i < static_cast<int>(tokens.size()); ++i) {
    const double low = tokens[i].score.lo;
    if (low > tokens[best].score.lo || (low == tokens[best].score.lo && ids[i] < ids[best])) {
      best = i;
    }
  }
  certificate.decided = true;
  const auto compare = [&](double high, bool loses_ties, bool unknown) {
    const double over = high - tokens[best].score.lo;
    if (over < 0 || (over == 0 && loses_ties)) return;
    certificate.decided = false;
    if (over >= certificate.shortfall) {
      certificate.shortfall = over;
      certificate.rival_unknown = unknown;
    }
  };
  for (int i = 0; i < static_cast<int>(tokens.size()); ++i) {
    if (i != best) compare(tokens[i].score.hi, ids[best] < ids[i], false);
  }
  if (!at_one.all_known()) compare(at_one.unknown_score(), false, true);
  if (certificate.decided) {
    certificate.token = ids[best];
    certificate.logprob = at_one.Logprob(best);
  }
  return certificate;
}

absl::StatusOr<Certificate> CertifyToken(const ModelKnowledge& model, const PairKnowledge& pair,
                                         const SamplingOptions& options, const NoiseKey& key,
                                         double score_error, LargestUnknown largest_unknown) {
  if (absl::Status status = CheckSamplingOptions(options); !status.ok()) return status;
  if (absl::Status status = CheckPairKnowledge(model, pair); !status.ok()) return status;
  if (!(score_error >= 0 && score_error < INFINITY)) {
    return absl::InvalidArgumentError(
        absl::StrCat("score_error is ", score_error, ", must be 0 or more and finite"));
  }
  if (options.temperature == 0) return CertifyGreedyToken(model, EnsembleBounds(model, pair, 1));

  const EnsembleBounds bounds(model, pair, options.temperature);
  const KeptSet kept = CertifyKeptSet(bounds, options);
  Certificate certificate;
  certificate.truncated_mass = TruncatedMass(model);
  std::vector<Interval> scores(bounds.tokens().size());
  for (size_t i = 0; i < scores.size(); ++i) {
    if (kept.tokens[i] == Membership::kOut) continue;
    scores[i] = bounds.tokens()[i].score + Interval::Point(GumbelNoise(key, model.ids()[i])) +
                Interval::Around0(score_error);
  }
  const Race race = RunRace(scores, kept.tokens);
  double unknown = -INFINITY;
  if (kept.unknown != Membership::kOut) {
    // What every unknown token has at most, first with the largest noise there is.
    const Interval rest = bounds.unknown_log_unit() + Interval::Point(score_error);
    unknown = (rest + bounds.unknown().tilt() + Interval::Point(kLargestNoise)).hi;
    if (unknown >= race.best_low) {
      unknown = (rest + Interval::Point(largest_unknown())).hi;
    }
  }
  const double rival = std::max(race.rival_high, unknown);
  certificate.decided = race.best >= 0 && race.best_low > rival;
  if (!certificate.decided) {
    certificate.shortfall = rival - race.best_low;
    certificate.rival_unknown = unknown >= race.rival_high;
    return certificate;
  }
  certificate.token = model.ids()[race.best];
  certificate.logprob = options.temperature == 1
                            ? bounds.Logprob(race.best)
                            : EnsembleBounds(model, pair, 1).Logprob(race.best);
  return certificate;
}

absl::StatusOr<Certificate> CertifyToken(const ModelKnowledge& model, const PairKnowledge& pair,
                                         const SamplingOptions& options, const NoiseKey& key,
                                         double score_error) {
  return CertifyToken(model, pair, options, key, score_error,
                      [&] { return FindLargestUnknown(model, pair, options.temperature, key); });
}

}  // namespace unlearn
