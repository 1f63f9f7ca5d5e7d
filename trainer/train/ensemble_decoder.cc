#include "trainer/train/ensemble_decoder.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "offset/base/status_macros.h"
#include "offset/combine/token_drawer.h"
#include "offset/pair/pair_engine.h"

namespace unlearn {
namespace {

struct Running {
  size_t prompt = 0;
  std::unique_ptr<UpstreamSession> session;
  int pair_stream = -1;
  int32_t length = 0;
  std::vector<int32_t> feeding;
  absl::StatusOr<UpstreamLogits> model;
};

}  // namespace

absl::StatusOr<std::vector<std::vector<int32_t>>> DecodeEnsemble(
    Upstream& upstream, std::shared_ptr<const Decoder> base, std::shared_ptr<const LoraStack> stack,
    const std::vector<std::vector<int32_t>>& prompts, const DecodeOptions& options,
    const std::function<bool()>& should_stop) {
  size_t longest = 0;
  for (const auto& prompt : prompts) longest = std::max(longest, prompt.size());
  const int64_t vocab = base->config().vocab_size;
  const int64_t width = upstream.info().vocab_size;
  const int64_t room = std::min<int64_t>(upstream.info().max_context, base->config().max_positions);
  PairEngine pair(base,
                  2 * options.at_once * (longest + options.max_tokens + KvCache::kPageTokens));
  absl::Mutex mutex;
  int open = 0;
  std::vector<std::vector<int32_t>> completions(prompts.size());
  std::vector<std::unique_ptr<Running>> running;
  TokenDrawer drawer(vocab);
  for (size_t next = 0; next < prompts.size() || !running.empty();) {
    if (should_stop()) return absl::CancelledError("stopped while decoding");
    for (; next < prompts.size() && running.size() < options.at_once; ++next) {
      auto stream = std::make_unique<Running>();
      stream->prompt = next;
      stream->feeding = prompts[next];
      ASSIGN_OR_RETURN(stream->session, upstream.NewSession());
      stream->pair_stream = pair.AddStream(stack);
      running.push_back(std::move(stream));
    }
    std::vector<PairStep> steps;
    {
      absl::MutexLock lock(&mutex);
      open = static_cast<int>(running.size());
    }
    for (const auto& stream : running) {
      UpstreamStep step;
      step.base_position = stream->length;
      step.token_ids = stream->feeding;
      stream->session->Step(std::move(step), [&mutex, &open, to = stream.get()](
                                                 absl::StatusOr<UpstreamLogits> result) {
        absl::MutexLock lock(&mutex);
        to->model = std::move(result);
        --open;
      });
      steps.push_back({stream->pair_stream, stream->length, stream->feeding, 1});
    }
    const absl::StatusOr<at::Tensor> delta = pair.Step(steps);
    {
      absl::MutexLock lock(&mutex);
      mutex.Await(absl::Condition(
          +[](int* count) { return *count == 0; }, &open));
    }
    RETURN_IF_ERROR(delta.status());
    for (size_t i = 0; i < running.size(); ++i) {
      Running& stream = *running[i];
      RETURN_IF_ERROR(stream.model.status());
      if (static_cast<int64_t>(stream.model->logits.size()) != width) {
        return absl::FailedPreconditionError("M gave another number of logits than it announced");
      }
      RETURN_IF_ERROR(drawer.Combine(
          absl::MakeConstSpan(stream.model->logits).subspan(0, vocab),
          absl::MakeConstSpan(delta->data_ptr<float>() + i * vocab, vocab), options.alpha));
      const int32_t token = drawer.Draw(SamplingOptions(), NoiseKey()).id;
      stream.length += static_cast<int32_t>(stream.feeding.size());
      stream.feeding = {token};
      std::vector<int32_t>& completion = completions[stream.prompt];
      const bool end =
          std::find(options.end_ids.begin(), options.end_ids.end(), token) != options.end_ids.end();
      if (!end) completion.push_back(token);
      if (end || static_cast<int32_t>(completion.size()) >= options.max_tokens ||
          stream.length + 1 >= room) {
        pair.RemoveStream(stream.pair_stream);
        running[i] = nullptr;
      }
    }
    running.erase(std::remove(running.begin(), running.end(), nullptr), running.end());
  }
  return completions;
}

}  // namespace unlearn
