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
    const absl::Span<const float> delta = RowOf(stream->deltas.front());
    const NoiseKey key = {task.seed, 0, static_cast<uint32_t>(task.prompt.size() + stream->drawn)};
    absl::StatusOr<CertifiedDraw> draw = DrawFromTop(stream->top, upstream_->info(), delta,
                                                     vocab_size_, task.alpha, task.sampling, key);
    if (!draw.ok()) {
      Finish(stream, draw.status(), false);
      continue;
    }
    const bool truncated =
        !draw->decided && MayTruncate(*stream, draw->more_helps, draw->truncated_mass);
    if (truncated) {
      const absl::StatusOr<SampledToken> token =
          DrawTruncated(stream->top, delta, vocab_size_, task.alpha, task.sampling, key);
      if (!token.ok()) {
        Finish(stream, token.status(), false);
        continue;
      }
      draw->token = *token;
    } else if (!draw->decided) {
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
    token.truncated = truncated;
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

bool Scheduler::CanAskMore(const Stream& stream, bool more_helps) const {
  return more_helps && stream.asked_top < upstream_->info().most_top;
}

bool Scheduler::MayTruncate(const Stream& stream, bool more_helps, double truncated_mass) const {
  return !CanAskMore(stream, more_helps) && !stream.task.exact &&
         truncated_mass <= options_.max_truncated_mass;
}

void Scheduler::AskForMore(const std::shared_ptr<Stream>& stream, bool more_helps, size_t known,
                           UpstreamStep step) {
  metrics_->undecided.Increment();
  const UpstreamInfo& model = upstream_->info();
  if (!CanAskMore(*stream, more_helps)) {
    Finish(stream,
           absl::FailedPreconditionError(
               absl::StrCat("the next token cannot be told from the ", known,
                            " most likely tokens that M tells; let M tell more (--upstream_top, "
                            "vLLM's --max-logprobs), lower the temperature, or allow a bound "
                            "(--max_truncated_mass)")),
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
