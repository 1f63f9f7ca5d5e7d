#include "proxy/upstream/sampling_probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "offset/base/status_macros.h"
#include "proxy/upstream/draw_evidence.h"

namespace unlearn {
namespace {

using SessionMaker = std::function<absl::StatusOr<std::unique_ptr<UpstreamSession>>()>;

constexpr double kCold = 0.25;
constexpr int kStreams = 8;      // at a time
constexpr int kColdStreams = 2;  // of these
constexpr int kTokens = 24;      // of each
constexpr int kRounds = 4;
constexpr int64_t kLeastDraws = 100;
constexpr int64_t kLeastColdDraws = 20;
constexpr double kLeastKnown = 0.25;
// Two tests, together wrong in one of a million cases.
const double kLogLimit = std::log(2e6);

// What the streams of one round drew.
class Draws {
 public:
  explicit Draws(int streams) : rows_(streams), open_(streams) {}

  void Take(int stream, absl::StatusOr<SampledRows> rows) {
    absl::MutexLock lock(&mutex_);
    if (!rows.ok()) {
      status_.Update(rows.status());
    } else {
      std::move(rows->rows.begin(), rows->rows.end(), std::back_inserter(rows_[stream]));
    }
    if (!rows.ok() || rows->ended) --open_;
  }

  // Until all streams have ended, or one has failed.
  void Wait(absl::Time deadline) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithDeadline(absl::Condition(
                                 +[](Draws* draws) {
                                   draws->mutex_.AssertHeld();
                                   return draws->open_ == 0 || !draws->status_.ok();
                                 },
                                 this),
                             deadline);
  }

  // When nothing calls Take any more.
  absl::StatusOr<std::vector<std::vector<SampledRow>>> Result() {
    absl::MutexLock lock(&mutex_);
    RETURN_IF_ERROR(status_);
    return std::move(rows_);
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::vector<SampledRow>> rows_ ABSL_GUARDED_BY(mutex_);
  int open_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

TopRow RowOf(const UpstreamLogits& logits) {
  if (!logits.tops.empty()) return logits.tops.front();
  double sum = 0;
  for (const float value : logits.logits) sum += std::exp(static_cast<double>(value));
  std::vector<int32_t> order(logits.logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return logits.logits[a] > logits.logits[b]; });
  TopRow row;
  for (const int32_t id : order) {
    if (std::isinf(logits.logits[id])) break;
    row.ids.push_back(id);
    row.logprobs.push_back(logits.logits[id] - std::log(sum));
  }
  return row;
}

class Probe {
 public:
  Probe(const SessionMaker& new_session, const std::vector<int32_t>& prompt, absl::Duration limit)
      : new_session_(new_session), prompt_(prompt), limit_(limit) {}

  absl::Status Run() {
    // What a server does once, for the first of such requests, is not counted.
    RETURN_IF_ERROR(Draw(1, 1, absl::Now() + 10 * limit_).status());
    const absl::Time begin = absl::Now();
    for (int round = 0; round < kRounds; ++round) {
      RETURN_IF_ERROR(Round(begin + limit_));
      RETURN_IF_ERROR(Judge(warm_, "1"));
      RETURN_IF_ERROR(Judge(cold_, "1/4"));
      // Of a slow server one round is enough.
      if (absl::Now() > begin + limit_ / 8) break;
    }
    if (warm_.draws() < kLeastDraws || cold_.draws() < kLeastColdDraws) {
      return absl::FailedPreconditionError(
          absl::StrCat("it drew ", warm_.draws(), " tokens at temperature 1 and ", cold_.draws(),
                       " testable ones at 1/4 within ", absl::FormatDuration(limit_),
                       ", too few to test its draws by"));
    }
    if (warm_.known() < kLeastKnown) {
      return absl::FailedPreconditionError(absl::StrCat(
          "its log-probs tell ", std::round(warm_.known() * 100),
          "% of the probability, too little to test its draws by; --upstream_top gives more"));
    }
    return absl::OkStatus();
  }

 private:
  // Tokens of so many streams, the first ones cold.
  absl::StatusOr<std::vector<std::vector<SampledRow>>> Draw(int streams, int tokens,
                                                            absl::Time deadline) {
    Draws draws(streams);
    std::vector<std::unique_ptr<UpstreamSession>> sessions;
    for (int i = 0; i < streams; ++i) {
      ASSIGN_OR_RETURN(sessions.emplace_back(), new_session_());
      UpstreamSampling sampling;
      sampling.token_ids = prompt_;
      sampling.temperature = i < kColdStreams ? kCold : 1;
      sampling.max_tokens = tokens;
      sessions.back()->Sample(sampling, [&draws, i](absl::StatusOr<SampledRows> rows) {
        draws.Take(i, std::move(rows));
      });
    }
    draws.Wait(deadline);
    sessions.clear();  // nothing is called any more
    return draws.Result();
  }

  absl::Status Round(absl::Time deadline) {
    ASSIGN_OR_RETURN(const auto streams, Draw(kStreams, kTokens, deadline));
    for (int i = 0; i < kStreams; ++i) {
      RETURN_IF_ERROR(Add(streams[i], deadline + limit_, i < kColdStreams ? cold_ : warm_));
    }
    return absl::OkStatus();
  }

  absl::Status Add(const std::vector<SampledRow>& rows, absl::Time deadline,
                   DrawEvidence& evidence) {
    std::vector<int32_t> tokens = prompt_;
    for (const SampledRow& row : rows) {
      SampledRow told = row;
      if (told.top.ids.empty()) {
        // Leaving it out would favour some tokens: it is because of them that nothing was told.
        if (absl::Now() > deadline) {
          return absl::FailedPreconditionError("it tells too slowly what its draws were from");
        }
        ASSIGN_OR_RETURN(const auto session, new_session_());
        ASSIGN_OR_RETURN(const UpstreamLogits logits,
                         StepAndWait(*session, {0, tokens, UpstreamStep::Positions::kLast}));
        told.top = RowOf(logits);
        if (told.top.ids.empty()) return absl::InternalError("a law of no tokens");
      }
      evidence.Add(told, std::uniform_real_distribution<double>()(random_));
      tokens.push_back(row.id);
    }
    return absl::OkStatus();
  }

  static absl::Status Judge(const DrawEvidence& evidence, const char* temperature) {
    if (evidence.Log() < kLogLimit) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        "what it draws at temperature ", temperature, " is not from the law that it tells: so ",
        evidence.draws(), " tokens come about by chance in one of 10^",
        std::floor(evidence.Log() / std::log(10)), " cases at most"));
  }

  const SessionMaker& new_session_;
  const std::vector<int32_t>& prompt_;
  const absl::Duration limit_;
  std::mt19937_64 random_{std::random_device()()};
  DrawEvidence warm_{1};
  DrawEvidence cold_{kCold};
};

}  // namespace

absl::Status ProbeSampling(const SessionMaker& new_session, const std::vector<int32_t>& prompt,
                           absl::Duration limit) {
  return Probe(new_session, prompt, limit).Run();
}

}  // namespace unlearn
