// Drawing where M tells its most likely tokens only.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/decode/certified_draw.h"
#include "proxy/scheduler/scheduler.h"
#include "proxy/scheduler/scheduler_stream.h"

namespace unlearn {
namespace {

// What did not settle a token is asked for this many times over.
constexpr int kMoreTop = 4;

}  // namespace

void Scheduler::DrawReadyTops() {
  for (const auto& stream : std::vector<std::shared_ptr<Stream>>(running_)) {
    if (stream->streamed || !stream->model_ready || !stream->pair_ready) continue;
    const StreamTask& task = stream->task;
    const absl::StatusOr<CertifiedDraw> draw = DrawFromTop(
        stream->top, upstream_->info(), RowOf(stream->deltas.front()), vocab_size_, task.alpha,
        task.sampling, {task.seed, 0, static_cast<uint32_t>(task.prompt.size() + stream->drawn)});
    if (!draw.ok()) {
      Finish(stream, draw.status(), false);
      continue;
    }
    if (!draw->decided) {
      UpstreamStep step;
      step.base_position = stream->length + static_cast<int32_t>(stream->feeding.size()) - 1;
      step.token_ids = {stream->feeding.back()};
      AskForMore(stream, draw->more_helps, stream->top.ids.size(), std::move(step));
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
    stream->length += static_cast<int32_t>(stream->feeding.size());
    stream->deltas.clear();
    Begin(*stream, {token.id}, 1);
    AskModel(stream);
  }
}

void Scheduler::AskForMore(const std::shared_ptr<Stream>& stream, bool more_helps, size_t known,
                           UpstreamStep step) {
  metrics_->undecided.Increment();
  const UpstreamInfo& model = upstream_->info();
  if (!more_helps || stream->asked_top >= model.most_top) {
    Finish(stream,
           absl::FailedPreconditionError(
               absl::StrCat("the next token cannot be told from the ", known,
                            " most likely tokens that M tells; let M tell more (--upstream_top, "
                            "vLLM's --max-logprobs), or lower the temperature")),
           false);
    return;
  }
  stream->model_ready = false;
  stream->asked_top = stream->asked_top == 0
                          ? model.top
                          : static_cast<int32_t>(std::min<int64_t>(
                                model.most_top, int64_t{kMoreTop} * stream->asked_top));
  step.top = stream->asked_top;
  Ask(stream, std::move(step));
}

}  // namespace unlearn
