// Drawing where M tells whole rows: drafts, the ensemble's tokens, and what comes after them.

#include <algorithm>
#include <utility>

#include "proxy/scheduler/scheduler.h"
#include "proxy/scheduler/scheduler_stream.h"

namespace unlearn {

void Scheduler::DrawDrafts() {
  std::vector<std::shared_ptr<Stream>> drafting;
  std::vector<EnsembleDrawer::Request> requests;
  for (const auto& stream : running_) {
    if (stream->drafts_left == 0 || stream->PairHasWork()) continue;
    drafting.push_back(stream);
    const StreamTask& task = stream->task;
    const size_t row = stream->feeding.size() - 1;
    EnsembleDrawer::Request request;
    request.slot = stream->slots[row];
    request.alpha = task.alpha;
    request.sampling = task.sampling;
    // The noise that the token itself will be drawn with.
    request.key = {task.seed, 0, static_cast<uint32_t>(task.prompt.size() + stream->drawn + row)};
    request.draft = true;
    requests.push_back(request);
  }
  if (drafting.empty()) return;
  size_t next = 0;
  const absl::Status status = drawer_->Draw(requests, [&](absl::StatusOr<SampledToken> token) {
    const std::shared_ptr<Stream>& stream = drafting[next++];
    if (!token.ok()) {
      Finish(stream, token.status(), false);
      return;
    }
    const std::vector<int32_t>& ends = stream->task.end_ids;
    // Whether it is the end, M's row before it tells; nothing comes after it.
    if (std::find(ends.begin(), ends.end(), token->id) != ends.end()) {
      stream->drafts_left = 0;
      stream->pair_ready = true;
    } else {
      stream->feeding.push_back(token->id);
      ++stream->wanted;
      --stream->drafts_left;
    }
    // The pair runs the last draft while M is asked.
    if (stream->drafts_left == 0) AskModel(stream);
  });
  for (; next < drafting.size(); ++next) Finish(drafting[next], status, false);
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

void Scheduler::Take(const std::shared_ptr<Stream>& stream,
                     const std::vector<absl::StatusOr<SampledToken>>& drawn) {
  const StreamTask& task = stream->task;
  int32_t stood = 0;  // tokens of `feeding` after the first
  int32_t last = 0;
  for (const absl::StatusOr<SampledToken>& sampled : drawn) {
    if (!sampled.ok()) {
      Finish(stream, sampled.status(), false);
      return;
    }
    DrawnToken token;
    token.id = last = sampled->id;
    token.logprob = sampled->logprob;
    if (!Emit(stream, token)) return;
    // A draft that does not stand ends the rows that say something.
    const size_t after = stream->feeding.size() - stream->wanted + 1 + stood;
    if (after == stream->feeding.size() || stream->feeding[after] != token.id) break;
    ++stood;
  }
  if (stream->draft_length) {
    const int drafts = stream->wanted - 1;
    metrics_->drafts.Increment(drafts);
    metrics_->drafts_stood.Increment(stood);
    stream->draft_length->Verified(drafts, stood);
  }
  if (task.forced.empty() && stream->drawn >= task.max_tokens) {
    Finish(stream, absl::OkStatus(), false);
    return;
  }
  stream->length += static_cast<int32_t>(stream->feeding.size()) - stream->wanted + 1 + stood;
  if (task.forced.empty()) {
    GoOn(stream, last);
    return;
  }
  // The completion goes in as a whole where slots suffice; its last token needs no prediction after
  // it.
  const auto begin = task.forced.begin() + stream->drawn - 1;
  slots_.Share(stream->slots, task.forced.end() - 1 - begin, CountSharers());
  Begin(*stream, std::vector<int32_t>(begin, begin + stream->slots.size()),
        static_cast<int32_t>(stream->slots.size()));
  AskModel(stream);
}

void Scheduler::GoOn(const std::shared_ptr<Stream>& stream, int32_t token) {
  Begin(*stream, {token}, 1);
  if (stream->draft_length) {
    // The token after the drafts is drawn, too.
    const int drafts =
        std::min(stream->draft_length->Next(costs_), stream->task.max_tokens - stream->drawn - 1);
    slots_.Share(stream->slots, drafts + 1, CountSharers());
    stream->drafts_left = static_cast<int>(stream->slots.size()) - 1;
  }
  if (stream->drafts_left == 0) AskModel(stream);
}

size_t Scheduler::CountSharers() const {
  return std::count_if(running_.begin(), running_.end(), [](const auto& stream) {
    return stream->draft_length.has_value() || !stream->task.forced.empty();
  });
}

}  // namespace unlearn
