// Stream and verify: M's server draws a stream of its own, the pair is led along it.

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "offset/base/status_macros.h"
#include "proxy/decode/told_law.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/scheduler/scheduler_stream.h"

namespace unlearn {
namespace {

// Rows of delta that a stream holds at most: as many tokens is the pair led ahead of what stands.
constexpr size_t kMostAhead = 32;

}  // namespace

void Scheduler::OpenSample(const std::shared_ptr<Stream>& stream) {
  Streamed& streamed = *stream->streamed;
  const int64_t known = static_cast<int64_t>(streamed.text.size() + streamed.rows.size());
  const int64_t left =
      stream->task.max_tokens - stream->drawn - static_cast<int64_t>(streamed.rows.size());
  if (left <= 0) return;
  UpstreamSampling sampling;
  sampling.base_position = static_cast<int32_t>(std::min<int64_t>(streamed.held, known - 1));
  for (int64_t at = sampling.base_position; at < known; ++at) {
    sampling.token_ids.push_back(streamed.TokenAt(at));
  }
  sampling.temperature = stream->task.sampling.temperature;
  sampling.max_tokens = static_cast<int32_t>(left);
  streamed.held = static_cast<int32_t>(known);
  streamed.open = true;
  streamed.interrupted = false;
  stream->asked = absl::Now();
  stream->session->Sample(std::move(sampling), [this, stream, number = ++streamed.number](
                                                   absl::StatusOr<SampledRows> rows) {
    ModelRows arrived;
    arrived.stream = stream;
    arrived.status = rows.status();
    arrived.arrived = absl::Now();
    if (rows.ok()) arrived.sampled = *std::move(rows);
    arrived.number = number;
    absl::MutexLock lock(&mutex_);
    arrived_.push_back(std::move(arrived));
  });
}

absl::Status Scheduler::TakeSampled(Stream& stream, SampledRows sampled, absl::Time arrived) {
  // Before the pair is led along them, in a pass that others share.
  for (const SampledRow& row : sampled.rows) {
    RETURN_IF_ERROR(CheckToldIds({row.id}, vocab_size_));
  }
  Streamed& streamed = *stream.streamed;
  streamed.held += static_cast<int32_t>(sampled.rows.size());
  std::move(sampled.rows.begin(), sampled.rows.end(), std::back_inserter(streamed.rows));
  if (sampled.ended) streamed.open = false;
  stream.timing.upstream += arrived - stream.asked;
  stream.asked = arrived;
  return absl::OkStatus();
}

void Scheduler::FeedSampled(Stream& stream) {
  if (stream.PairHasWork() || stream.deltas.size() >= kMostAhead) return;
  const Streamed& streamed = *stream.streamed;
  const size_t seen = stream.length + stream.feeding.size();  // of text and rows
  const size_t known = streamed.text.size() + streamed.rows.size();
  const size_t end = std::min(known, seen + kMostAhead - stream.deltas.size());
  if (seen >= end) return;
  std::vector<int32_t> tokens;
  for (size_t at = seen; at < end; ++at) tokens.push_back(streamed.TokenAt(at));
  stream.length = static_cast<int32_t>(seen);
  const int32_t wanted = static_cast<int32_t>(tokens.size());
  Begin(stream, std::move(tokens), wanted);
}

void Scheduler::VerifyStreamed() {
  for (const auto& stream : std::vector<std::shared_ptr<Stream>>(running_)) {
    if (!stream->streamed) continue;
    while (VerifyOne(stream)) {
    }
    if (stream->finished) continue;
    Streamed& streamed = *stream->streamed;
    if (!streamed.open && !streamed.asking && streamed.rows.empty()) OpenSample(stream);
    FeedSampled(*stream);
  }
}

bool Scheduler::VerifyOne(const std::shared_ptr<Stream>& stream) {
  Streamed& streamed = *stream->streamed;
  if (streamed.rows.empty() || stream->deltas.empty() || streamed.asking) return false;
  const StreamTask& task = stream->task;
  const SampledRow& row = streamed.rows.front();
  if (!streamed.position) {
    streamed.position.emplace(NoiseKey{task.seed, 0, static_cast<uint32_t>(streamed.text.size())});
    stream->asked_top = upstream_->info().top;
  }
  const absl::StatusOr<StreamedToken> verified =
      streamed.position->Verify(row, upstream_->info(), RowOf(stream->deltas.front()), vocab_size_,
                                task.alpha, task.sampling);
  if (!verified.ok()) {
    Finish(stream, verified.status(), false);
    return false;
  }
  if (!verified->decided) {
    // M's stream ends with it; what it drew so far is still true.
    ++streamed.number;
    streamed.interrupted = streamed.open || streamed.interrupted;
    streamed.open = false;
    streamed.asking = true;
    const int32_t length = static_cast<int32_t>(streamed.text.size());
    UpstreamStep step;
    step.base_position = std::min(streamed.held, length - 1);
    step.token_ids.assign(streamed.text.begin() + step.base_position, streamed.text.end());
    streamed.held = length;
    // Nothing was told at all: what is told at first comes first.
    if (row.top.ids.empty()) stream->asked_top = 0;
    AskForMore(stream, verified->more_helps, row.top.ids.size(), std::move(step));
    return false;
  }
  streamed.position.reset();
  DrawnToken token;
  token.id = verified->token.id;
  token.logprob = verified->token.logprob;
  token.logprob_error = verified->logprob_error;
  token.truncated_mass = verified->truncated_mass;
  (verified->accepted ? metrics_->streamed_accepted : metrics_->streamed_replaced).Increment();
  if (!Emit(stream, token)) return false;
  if (stream->drawn >= task.max_tokens) {
    Finish(stream, absl::OkStatus(), false);
    return false;
  }
  streamed.text.push_back(token.id);
  if (verified->accepted) {
    streamed.rows.pop_front();
    stream->deltas.pop_front();
    if (streamed.interrupted) OpenSample(stream);
    return true;
  }
  // What M drew after its own token is of no use.
  streamed.rows.clear();
  stream->deltas.clear();
  stream->length = static_cast<int32_t>(streamed.text.size()) - 1;
  streamed.held = std::min(streamed.held, stream->length);
  Begin(*stream, {token.id}, 1);
  OpenSample(stream);
  return false;
}

}  // namespace unlearn
