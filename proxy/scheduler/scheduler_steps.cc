// A token's way through the scheduler: to M and the pair, to the drawer, to the stream's sink.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/base/status_macros.h"
#include "proxy/decode/certified_draw.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/scheduler/scheduler_stream.h"

namespace unlearn {
namespace {

// What did not settle a token is asked for this many times over.
constexpr int kMoreTop = 4;

}  // namespace

void Scheduler::Feed(const std::shared_ptr<Stream>& stream, std::vector<int32_t> tokens,
                     int32_t wanted) {
  stream->length += static_cast<int32_t>(stream->feeding.size());
  stream->feeding = std::move(tokens);
  stream->pair_fed = 0;
  stream->wanted = wanted;
  stream->model_ready = stream->pair_ready = false;
  stream->fed = absl::Now();
  UpstreamStep step;
  step.base_position = stream->length;
  step.token_ids = stream->feeding;
  step.positions = wanted == 1 ? UpstreamStep::Positions::kLast : UpstreamStep::Positions::kAll;
  stream->asked_top = upstream_->info().top;
  Ask(stream, std::move(step));
}

void Scheduler::Ask(const std::shared_ptr<Stream>& stream, UpstreamStep step) {
  // M starts now; the pair's pass runs meanwhile on this thread. The slots are the stream's at
  // least until its session has ended, after which nothing is called.
  const auto stage = [this, slots = stream->slots](absl::StatusOr<UpstreamLogits>& result) {
    RETURN_IF_ERROR(result.status());
    if (upstream_->info().top > 0) {
      return result->tops.size() == 1
                 ? absl::OkStatus()
                 : absl::InternalError(absl::StrCat("M told its most likely tokens for ",
                                                    result->tops.size(),
                                                    " positions where one was asked about"));
    }
    const int64_t model_vocab = upstream_->info().vocab_size;
    const size_t rows = slots.size();
    if (model_vocab < vocab_size_ || result->logits.size() != rows * model_vocab) {
      return absl::FailedPreconditionError(absl::StrCat(
          "M gave ", result->logits.size(), " logits where ", rows, " rows of ", model_vocab,
          " (the pair's vocabulary: ", vocab_size_, ") were asked for; was M exchanged?"));
    }
    return drawer_->Stage(slots, std::move(result->logits));
  };
  stream->session->Step(std::move(step),
                        [this, stream, stage](absl::StatusOr<UpstreamLogits> result) {
                          const absl::Time now = absl::Now();
                          absl::Status status = stage(result);
                          TopRow top;
                          if (status.ok() && !result->tops.empty()) {
                            top = std::move(result->tops.front());
                          }
                          absl::MutexLock lock(&mutex_);
                          arrived_.push_back({stream, std::move(status), now, std::move(top)});
                        });
}

void Scheduler::RunPairPass() {
  std::vector<PairStep> steps;
  std::vector<int> slots;
  std::vector<std::shared_ptr<Stream>> owners;
  // Streams that need one token first, prefills share what is left of the budget.
  std::vector<std::shared_ptr<Stream>> waiting;
  for (const auto& stream : running_) {
    if (!stream->pair_ready) waiting.push_back(stream);
  }
  if (waiting.empty()) return;
  std::stable_sort(waiting.begin(), waiting.end(), [](const auto& a, const auto& b) {
    return a->feeding.size() - a->pair_fed < b->feeding.size() - b->pair_fed;
  });
  int64_t tokens = 0;
  for (const auto& stream : waiting) {
    const size_t left = stream->feeding.size() - stream->pair_fed;
    size_t now = left;
    if (left > 1) {
      const int64_t budget = options_.pair_tokens_per_pass - tokens;
      if (budget <= 0 && tokens > 0) break;
      // Rows that are wanted stay in one piece, so that they come back together.
      if (static_cast<int64_t>(left) > budget) {
        const size_t prefill = left - stream->wanted;
        now = std::min<size_t>(prefill, std::max<int64_t>(budget, 1));
        if (now == 0) now = left;
      }
    }
    PairStep step;
    step.stream = stream->pair_stream;
    step.base_position = stream->length + static_cast<int32_t>(stream->pair_fed);
    step.tokens = absl::MakeConstSpan(stream->feeding).subspan(stream->pair_fed, now);
    step.wanted = now == left ? stream->wanted : 0;
    if (step.wanted > 0) slots.insert(slots.end(), stream->slots.begin(), stream->slots.end());
    steps.push_back(step);
    owners.push_back(stream);
    tokens += static_cast<int64_t>(now);
  }
  const absl::Time start = absl::Now();
  absl::StatusOr<at::Tensor> deltas = at::Tensor();  // of tops
  if (upstream_->info().top > 0) deltas = pair_->Step(steps);
  const absl::Status status =
      upstream_->info().top > 0 ? deltas.status() : pair_->StepInto(steps, slots, *drawer_);
  const absl::Duration spent = absl::Now() - start;
  metrics_->pair_step.Observe(absl::ToDoubleSeconds(spent));
  metrics_->pair_rows.Observe(static_cast<double>(tokens));
  int64_t row = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    Stream& stream = *owners[i];
    if (!status.ok()) {
      Finish(owners[i], status, false);
      continue;
    }
    stream.timing.pair += spent;
    stream.pair_fed += steps[i].tokens.size();
    stream.pair_ready = steps[i].wanted > 0;
    if (deltas->defined() && stream.pair_ready) stream.delta = deltas->narrow(0, row++, 1);
  }
}

void Scheduler::DrawReady() {
  std::vector<std::shared_ptr<Stream>> ready;
  std::vector<EnsembleDrawer::Request> requests;
  for (const auto& stream : running_) {
    if (!stream->model_ready || !stream->pair_ready) continue;
    ready.push_back(stream);
    const StreamTask& task = stream->task;
    for (int32_t row = 0; row < stream->wanted; ++row) {
      const int32_t at = stream->drawn + row;
      EnsembleDrawer::Request request;
      request.slot = stream->slots[row];
      request.alpha = task.alpha;
      request.sampling = task.sampling;
      request.key = {task.seed, 0, static_cast<uint32_t>(task.prompt.size() + at)};
      if (!task.forced.empty()) request.forced = task.forced[at];
      requests.push_back(request);
    }
  }
  if (ready.empty()) return;
  size_t next = 0;
  std::vector<absl::StatusOr<SampledToken>> drawn;
  const absl::Status status = drawer_->Draw(requests, [&](absl::StatusOr<SampledToken> token) {
    drawn.push_back(std::move(token));
    if (static_cast<int32_t>(drawn.size()) < ready[next]->wanted) return;
    Take(ready[next++], drawn);
    drawn.clear();
  });
  for (; next < ready.size(); ++next) Finish(ready[next], status, false);
}

void Scheduler::DrawReadyTops() {
  for (const auto& stream : std::vector<std::shared_ptr<Stream>>(running_)) {
    if (stream->finished || !stream->model_ready || !stream->pair_ready) continue;
    const StreamTask& task = stream->task;
    const absl::StatusOr<CertifiedDraw> draw = DrawFromTop(
        stream->top, upstream_->info(),
        {stream->delta.const_data_ptr<float>(), static_cast<size_t>(stream->delta.size(1))},
        vocab_size_, task.alpha, task.sampling,
        {task.seed, 0, static_cast<uint32_t>(task.prompt.size() + stream->drawn)});
    if (!draw.ok()) {
      Finish(stream, draw.status(), false);
      continue;
    }
    if (!draw->decided) {
      metrics_->undecided.Increment();
      if (draw->more_helps && stream->asked_top < upstream_->info().most_top) {
        AskForMore(stream);
      } else {
        Finish(stream,
               absl::FailedPreconditionError(absl::StrCat(
                   "the next token cannot be told from the ", stream->top.ids.size(),
                   " most likely tokens that M tells; let M tell more (--upstream_top, vLLM's "
                   "--max-logprobs), or lower the temperature")),
               false);
      }
      continue;
    }
    DrawnToken token;
    token.id = draw->token.id;
    token.logprob = draw->token.logprob;
    token.logprob_error = draw->logprob_error;
    token.truncated_mass = draw->truncated_mass;
    if (!Emit(stream, token)) continue;
    if (stream->drawn >= task.max_tokens) {
      Finish(stream, absl::OkStatus(), false);
      continue;
    }
    Feed(stream, {token.id}, 1);
  }
}

void Scheduler::AskForMore(const std::shared_ptr<Stream>& stream) {
  stream->model_ready = false;
  stream->fed = absl::Now();
  UpstreamStep step;
  step.base_position = stream->length + static_cast<int32_t>(stream->feeding.size()) - 1;
  step.token_ids = {stream->feeding.back()};
  stream->asked_top = static_cast<int32_t>(
      std::min<int64_t>(upstream_->info().most_top, int64_t{kMoreTop} * stream->asked_top));
  step.top = stream->asked_top;
  Ask(stream, std::move(step));
}

bool Scheduler::Emit(const std::shared_ptr<Stream>& stream, DrawnToken token) {
  const StreamTask& task = stream->task;
  token.offset_version = task.version->version;
  token.is_end = task.forced.empty() && std::find(task.end_ids.begin(), task.end_ids.end(),
                                                  token.id) != task.end_ids.end();
  const absl::Time now = absl::Now();
  if (stream->drawn == 0) {
    stream->timing.first_token = now - stream->submitted;
    metrics_->first_token.Observe(absl::ToDoubleSeconds(stream->timing.first_token));
  } else {
    metrics_->inter_token.Observe(absl::ToDoubleSeconds(now - stream->last_token));
  }
  stream->last_token = now;
  ++stream->drawn;
  metrics_->tokens.Increment();
  const bool go_on = stream->sink->OnToken(token);
  const bool forced_end =
      !task.forced.empty() && stream->drawn == static_cast<int32_t>(task.forced.size());
  if (token.is_end || !go_on || forced_end) {
    Finish(stream, absl::OkStatus(), true);
    return false;
  }
  return true;
}

void Scheduler::Take(const std::shared_ptr<Stream>& stream,
                     const std::vector<absl::StatusOr<SampledToken>>& drawn) {
  const StreamTask& task = stream->task;
  std::vector<int32_t> next;
  for (const absl::StatusOr<SampledToken>& sampled : drawn) {
    if (!sampled.ok()) {
      Finish(stream, sampled.status(), false);
      return;
    }
    DrawnToken token;
    token.id = sampled->id;
    token.logprob = sampled->logprob;
    if (!Emit(stream, token)) return;
    next.push_back(token.id);
  }
  if (task.forced.empty() && stream->drawn >= task.max_tokens) {
    Finish(stream, absl::OkStatus(), false);
    return;
  }
  if (!task.forced.empty()) {
    // The completion goes in as a whole where slots suffice; its last token needs no prediction
    // after it.
    const auto begin = task.forced.begin() + stream->drawn - 1;
    const auto scoring = std::count_if(running_.begin(), running_.end(), [](const auto& other) {
      return !other->task.forced.empty();
    });
    slots_.Share(stream->slots, task.forced.end() - 1 - begin, scoring);
    next.assign(begin, begin + stream->slots.size());
  }
  const int32_t wanted = static_cast<int32_t>(next.size());
  Feed(stream, std::move(next), wanted);
}

}  // namespace unlearn
