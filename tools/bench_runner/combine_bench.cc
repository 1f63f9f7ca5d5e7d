#include "tools/bench_runner/combine_bench.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/combine/sampler.h"
#include "offset/combine/token_drawer.h"
#include "offset/model/torch_boundary.h"

namespace unlearn {
namespace {

constexpr double kAlpha = 1.5;

struct Case {
  std::string name;
  SamplingOptions options;
};

const std::vector<Case>& Cases() {
  static const auto& cases =
      *new std::vector<Case>{{"greedy", {0, 0, 0, 1}},         {"T=1", {1, 0, 0, 1}},
                             {"top-k 50", {1, 0, 50, 1}},      {"top-p 0.9", {1, 0, 0, 0.9f}},
                             {"min-p 0.05", {1, 0.05f, 0, 1}}, {"all three", {1, 0.05f, 50, 0.9f}}};
  return cases;
}

struct Rows {
  at::Tensor model;  // [vocab]
  at::Tensor delta;
};

// Flat: normal logits of standard deviation 2, under which no token stands out. Peaked: some tokens
// above them whose probability falls with a power of their rank, as a language model's does.
Rows MakeRows(int64_t vocab, bool peaked) {
  Rows rows = {at::empty({vocab}), at::empty({vocab})};
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 2);
  float* model = rows.model.data_ptr<float>();
  float* delta = rows.delta.data_ptr<float>();
  for (int64_t i = 0; i < vocab; ++i) {
    model[i] = normal(random);
    delta[i] = 0.05f * normal(random);
  }
  for (int rank = 1; peaked && rank <= 200; ++rank) {
    model[random() % vocab] = 18 - 2.2f * std::log(static_cast<float>(rank));
  }
  return rows;
}

// What samplers built on tensors do, each step in place where that is possible.
at::Tensor Warp(at::Tensor logits, const SamplingOptions& options) {
  constexpr float kImpossible = -std::numeric_limits<float>::infinity();
  if (options.temperature != 1) logits = logits.div(options.temperature);
  if (options.min_p > 0) {
    const at::Tensor probability = logits.softmax(0);
    logits = logits.masked_fill(probability < probability.max() * options.min_p, kImpossible);
  }
  if (options.top_k > 0) {
    const at::Tensor least = std::get<0>(logits.topk(options.top_k))[-1];
    logits = logits.masked_fill(logits < least, kImpossible);
  }
  if (options.top_p < 1) {
    const auto [sorted, order] = logits.sort(0, /*descending=*/true);
    const at::Tensor probability = sorted.softmax(0);
    // Out is what lies behind a sum that has reached top-p.
    const at::Tensor out = probability.cumsum(0).sub_(probability) >= options.top_p;
    logits = at::empty_like(logits).scatter_(0, order, sorted.masked_fill(out, kImpossible));
  }
  return logits;
}

SampledToken DrawWithAten(const Rows& rows, const SamplingOptions& options) {
  c10::InferenceMode inference;
  const at::Tensor ensemble = at::add(rows.model, rows.delta, kAlpha);
  const at::Tensor logprobs = ensemble.log_softmax(0);
  at::Tensor id;
  if (options.temperature == 0) {
    id = ensemble.argmax();
  } else {
    // One uniform number in the running sum: noise for every token costs ATen four milliseconds.
    const at::Tensor sum = Warp(ensemble, options).softmax(0).cumsum(0);
    id = at::searchsorted(sum, at::rand({1}).mul_(sum[-1]), /*out_int32=*/false, /*right=*/true)
             .clamp_max_(sum.numel() - 1);
  }
  SampledToken token;
  token.id = static_cast<int32_t>(id.item<int64_t>());
  token.logprob = logprobs.data_ptr<float>()[token.id];
  return token;
}

absl::Span<const float> Span(const at::Tensor& row) {
  return {row.data_ptr<float>(), static_cast<size_t>(row.numel())};
}

// Both must do the same, or their times mean nothing. fp32 sums may move top-p's border a little.
absl::Status CheckAgreement(const Rows& rows, TokenDrawer& drawer) {
  RETURN_IF_ERROR(drawer.Combine(Span(rows.model), Span(rows.delta), kAlpha));
  const SampledToken ours = drawer.Draw(Cases()[0].options, NoiseKey());
  const SampledToken theirs = DrawWithAten(rows, Cases()[0].options);
  if (ours.id != theirs.id || !(std::abs(ours.logprob - theirs.logprob) < 1e-4)) {
    return absl::InternalError(absl::StrCat("greedy: token ", ours.id, " with log-prob ",
                                            ours.logprob, ", ATen has ", theirs.id, " with ",
                                            theirs.logprob));
  }
  const at::Tensor ensemble = at::add(rows.model, rows.delta, kAlpha);
  for (const Case& c : Cases()) {
    const std::vector<int32_t> kept = KeptTokens(drawer.ensemble(), c.options);
    if (kept.empty()) continue;
    const double count = static_cast<double>(kept.size());
    const double others = Warp(ensemble, c.options).isfinite().sum().item<double>();
    if (std::abs(count - others) > 0.01 * count) {
      return absl::InternalError(
          absl::StrCat(c.name, ": ", count, " tokens are kept, ATen keeps ", others));
    }
  }
  return absl::OkStatus();
}

absl::Status RunRows(const CompareOptions& options, int64_t vocab, bool peaked,
                     const ReportResult& report) {
  const Rows rows = MakeRows(vocab, peaked);
  TokenDrawer drawer(vocab);
  RETURN_IF_ERROR(CheckAgreement(rows, drawer));
  NoiseKey key;
  std::vector<Contender> contenders;
  for (const Case& c : Cases()) {
    contenders.push_back({c.name, [&]() -> absl::Status {
                            RETURN_IF_ERROR(
                                drawer.Combine(Span(rows.model), Span(rows.delta), kAlpha));
                            ++key.position;
                            drawer.Draw(c.options, key);
                            return absl::OkStatus();
                          }});
    contenders.push_back({absl::StrCat(c.name, ", ATen"), [&]() -> absl::Status {
                            DrawWithAten(rows, c.options);
                            return absl::OkStatus();
                          }});
  }
  ASSIGN_OR_RETURN(RoundSeconds seconds, Compare(contenders, options));
  BenchResult result;
  result.bench = "combine";
  result.sizes["vocabulary"] = vocab;
  result.sizes["rows"] = peaked ? "peaked" : "flat";
  result.sizes["threads"] = 1;
  result.unit = "us/token";
  for (size_t i = 0; i < contenders.size(); ++i) {
    for (double& value : seconds[i]) value *= 1e6;
    result.figures.push_back({contenders[i].name, SpreadOf(seconds[i])});
    result.figures.push_back({absl::StrCat(contenders[i].name, ", fastest round"),
                              SpreadOf({*std::min_element(seconds[i].begin(), seconds[i].end())})});
  }
  for (size_t i = 0; i < Cases().size(); ++i) {
    result.ratios.push_back({absl::StrCat("ATen / ours, ", Cases()[i].name),
                             RatioOf(seconds[2 * i + 1], seconds[2 * i])});
  }
  for (size_t i = 2; i < Cases().size(); ++i) {
    result.ratios.push_back(
        {absl::StrCat(Cases()[i].name, " / T=1"), RatioOf(seconds[2 * i], seconds[2])});
  }
  report(result);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunCombineBench(const CompareOptions& options, const ReportResult& report) {
  return CatchTorch("the combiner's benchmark", [&]() -> absl::Status {
    const int threads = at::get_num_threads();
    at::set_num_threads(1);
    absl::Status status;
    for (const int64_t vocab : {32000, 151936, 262144}) {
      for (const bool peaked : {false, true}) {
        if (status.ok()) status = RunRows(options, vocab, peaked, report);
      }
    }
    at::set_num_threads(threads);
    return status;
  });
}

}  // namespace unlearn
