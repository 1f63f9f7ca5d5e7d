// A stream's tokens on their way to M and the pair, and to its sink.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/base/status_macros.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/scheduler/scheduler_stream.h"

namespace unlearn {

void Scheduler::Begin(Stream& stream, std::vector<int32_t> tokens, int32_t wanted) {
  stream.feeding = std::move(tokens);
  stream.pair_fed = 0;
  stream.wanted = wanted;
  stream.drafts_left = 0;
  stream.model_ready = stream.pair_ready = false;
}

void Scheduler::AskModel(const std::shared_ptr<Stream>& stream) {
  UpstreamStep step;
  step.base_position = stream->length;
  step.token_ids = stream->feeding;
  step.positions =
      stream->wanted == 1 ? UpstreamStep::Positions::kLast : UpstreamStep::Positions::kAll;
  stream->asked_top = upstream_->info().top;
  Ask(stream, std::move(step));
}

void Scheduler::Ask(const std::shared_ptr<Stream>& stream, UpstreamStep step) {
  stream->asked = absl::Now();
  // The slots are the stream's at least until its session has ended, after which nothing is called.
  const std::vector<int> slots(stream->slots.begin(), stream->slots.begin() + stream->wanted);
  const auto stage = [this, slots](absl::StatusOr<UpstreamLogits>& result) {
    RETURN_IF_ERROR(result.status());
    if (tells_tops_) {
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
    if (stream->PairHasWork()) waiting.push_back(stream);
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
    step.draft = stream->drafts_left > 0;
    // Rows that an earlier pass of this draft has given are not wanted again.
    const size_t first = stream->feeding.size() - stream->wanted;
    const size_t begin = std::max(first, stream->pair_fed), end = stream->pair_fed + now;
    if (begin < end) {
      step.wanted = static_cast<int32_t>(end - begin);
      const auto slot = stream->slots.begin() + (begin - first);
      slots.insert(slots.end(), slot, slot + step.wanted);
    } else {
      step.wanted = 0;
    }
    steps.push_back(step);
    owners.push_back(stream);
    tokens += static_cast<int64_t>(now);
  }
  const absl::Time start = absl::Now();
  absl::StatusOr<at::Tensor> deltas = at::Tensor();  // of tops
  if (tells_tops_) deltas = pair_->Step(steps);
  const absl::Status status =
      tells_tops_ ? deltas.status() : pair_->StepInto(steps, slots, *drawer_);
  const absl::Duration spent = absl::Now() - start;
  metrics_->pair_step.Observe(absl::ToDoubleSeconds(spent));
  metrics_->pair_rows.Observe(static_cast<double>(tokens));
  if (tokens == static_cast<int64_t>(steps.size())) costs_.SawPass(absl::ToDoubleSeconds(spent));
  int64_t row = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    Stream& stream = *owners[i];
    if (!status.ok()) {
      Finish(owners[i], status, false);
      continue;
    }
    stream.timing.pair += spent;
    stream.pair_fed += steps[i].tokens.size();
    stream.pair_ready = !stream.PairHasWork() && stream.drafts_left == 0;
    for (int32_t wanted = 0; tells_tops_ && wanted < steps[i].wanted; ++wanted) {
      stream.deltas.push_back(deltas->narrow(0, row++, 1));
    }
  }
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

}  // namespace unlearn
