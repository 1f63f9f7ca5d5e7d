#include "trainer/train/ensemble_decoder.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "offset/base/status_macros.h"
#include "offset/combine/token_drawer.h"
#include "offset/pair/pair_engine.h"
#include "trainer/train/top_law.h"

namespace unlearn {
namespace {

// Where what M told does not settle a token, so many times as many are asked for, as in the proxy.
constexpr int32_t kMoreTop = 4;

struct Running {
  size_t prompt = 0;
  int pair_stream = -1;
  int32_t length = 0;
  std::vector<int32_t> feeding;
  int32_t asked_top = 0;  // 0: as many as M tells unasked
  absl::StatusOr<UpstreamLogits> model;
  std::unique_ptr<UpstreamSession> session;  // last: gone before what its callbacks touch
};

// The questions to M that are under way.
class Questions {
 public:
  void Ask(Running& stream) {
    UpstreamStep step;
    if (stream.asked_top == 0) {
      step.base_position = stream.length;
      step.token_ids = stream.feeding;
    } else {
      // Again for the last position.
      step.base_position = stream.length + static_cast<int32_t>(stream.feeding.size()) - 1;
      step.token_ids = {stream.feeding.back()};
      step.top = stream.asked_top;
    }
    {
      absl::MutexLock lock(&mutex_);
      ++open_;
    }
    stream.session->Step(std::move(step),
                         [this, to = &stream](absl::StatusOr<UpstreamLogits> result) {
                           absl::MutexLock lock(&mutex_);
                           to->model = std::move(result);
                           --open_;
                         });
  }

  void Wait() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](int* count) { return *count == 0; }, &open_));
  }

 private:
  absl::Mutex mutex_;
  int open_ = 0;
};

// The ensemble's most likely next tokens, from M's answers and the pair's rows.
class GreedyTokens {
 public:
  GreedyTokens(const UpstreamInfo& model, int64_t tokens, double alpha, Questions* questions,
               TopFigures* figures)
      : model_(model),
        tokens_(tokens),
        alpha_(alpha),
        questions_(questions),
        figures_(figures),
        drawer_(tokens) {}

  // One for each stream. delta: [running, tokens or more].
  absl::StatusOr<std::vector<int32_t>> Draw(const std::vector<std::unique_ptr<Running>>& running,
                                            const at::Tensor& delta) {
    const auto delta_of = [&](size_t stream) {
      return absl::MakeConstSpan(delta.data_ptr<float>() + stream * delta.size(1), tokens_);
    };
    std::vector<int32_t> drawn(running.size());
    std::vector<size_t> waiting(running.size());
    std::iota(waiting.begin(), waiting.end(), size_t{0});
    while (!waiting.empty()) {
      std::vector<size_t> again;
      for (const size_t stream : waiting) {
        RETURN_IF_ERROR(running[stream]->model.status());
        if (model_.top == 0) {
          ASSIGN_OR_RETURN(drawn[stream],
                           OfLogits(running[stream]->model->logits, delta_of(stream)));
          continue;
        }
        ASSIGN_OR_RETURN(const int32_t token, OfTops(*running[stream], delta_of(stream)));
        drawn[stream] = token;
        if (token == kAskedForMore) again.push_back(stream);
      }
      if (!again.empty()) questions_->Wait();
      waiting = std::move(again);
    }
    return drawn;
  }

 private:
  static constexpr int32_t kAskedForMore = -1;

  absl::StatusOr<int32_t> OfLogits(absl::Span<const float> logits, absl::Span<const float> delta) {
    if (static_cast<int64_t>(logits.size()) != model_.vocab_size) {
      return absl::FailedPreconditionError("M gave another number of logits than it announced");
    }
    RETURN_IF_ERROR(drawer_.Combine(logits.subspan(0, tokens_), delta, alpha_));
    return drawer_.Draw(SamplingOptions(), NoiseKey()).id;
  }

  absl::StatusOr<int32_t> OfTops(Running& stream, absl::Span<const float> delta) {
    if (stream.model->tops.size() != 1) {
      return absl::FailedPreconditionError("M did not tell its most likely tokens as it announced");
    }
    ASSIGN_OR_RETURN(const TopLaw law, TopLaw::Create(stream.model->tops[0], model_, tokens_));
    ASSIGN_OR_RETURN(const Certificate certificate, law.MostLikely(delta, alpha_));
    const int32_t asked = stream.asked_top == 0 ? model_.top : stream.asked_top;
    const int32_t most = std::min(model_.most_top, model_.vocab_size);
    if (!certificate.decided && certificate.rival_unknown && asked < most) {
      stream.asked_top = static_cast<int32_t>(std::min<int64_t>(most, int64_t{kMoreTop} * asked));
      questions_->Ask(stream);
      return kAskedForMore;
    }
    if (figures_ != nullptr) figures_->Add(law.tail_mass(), !certificate.decided);
    if (certificate.decided) return certificate.token;
    row_.resize(tokens_);
    FillRow(law.ids(), law.logits(), law.other_logit(), tokens_, absl::MakeSpan(row_));
    RETURN_IF_ERROR(drawer_.Combine(row_, delta, alpha_));
    return drawer_.Draw(SamplingOptions(), NoiseKey()).id;
  }

  const UpstreamInfo& model_;
  const int64_t tokens_;
  const double alpha_;
  Questions* const questions_;
  TopFigures* const figures_;
  TokenDrawer drawer_;
  std::vector<float> row_;
};

}  // namespace

absl::StatusOr<std::vector<std::vector<int32_t>>> DecodeEnsemble(
    Upstream& upstream, std::shared_ptr<const Decoder> base, std::shared_ptr<const LoraStack> stack,
    const std::vector<std::vector<int32_t>>& prompts, const DecodeOptions& options,
    const std::function<bool()>& should_stop, TopFigures* figures) {
  size_t longest = 0;
  for (const auto& prompt : prompts) longest = std::max(longest, prompt.size());
  const int64_t vocab = base->config().vocab_size;
  const int64_t room = std::min<int64_t>(upstream.info().max_context, base->config().max_positions);
  PairEngine pair(base,
                  2 * options.at_once * (longest + options.max_tokens + KvCache::kPageTokens));
  Questions questions;
  GreedyTokens greedy(upstream.info(), options.tokens > 0 ? std::min(options.tokens, vocab) : vocab,
                      options.alpha, &questions, figures);
  std::vector<std::vector<int32_t>> completions(prompts.size());
  std::vector<std::unique_ptr<Running>> running;
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
    for (const auto& stream : running) {
      stream->asked_top = 0;
      questions.Ask(*stream);
      steps.push_back({stream->pair_stream, stream->length, stream->feeding, 1});
    }
    const absl::StatusOr<at::Tensor> delta = pair.Step(steps);
    questions.Wait();
    RETURN_IF_ERROR(delta.status());
    ASSIGN_OR_RETURN(const std::vector<int32_t> drawn, greedy.Draw(running, *delta));
    for (size_t i = 0; i < running.size(); ++i) {
      Running& stream = *running[i];
      const int32_t token = drawn[i];
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
