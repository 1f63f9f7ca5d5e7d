#include "proxy/scheduler/scheduler.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace unlearn {
namespace {

// Rows of M a scored completion asks for at once: bounds the memory of a long one.
constexpr size_t kScoreRows = 64;

int64_t PagesUp(int64_t tokens) {
  const int64_t page = KvCache::kPageTokens;
  return (tokens + page - 1) / page * page;
}

}  // namespace

// Everything but `cancelled` belongs to the scheduler's thread once submitted.
class Scheduler::Stream {
 public:
  StreamTask task;
  std::shared_ptr<StreamSink> sink;
  std::atomic<bool> cancelled{false};
  int64_t reserved = 0;

  std::unique_ptr<UpstreamSession> session;
  int pair_stream = -1;
  bool finished = false;

  int32_t length = 0;            // tokens fed before the current ones
  std::vector<int32_t> feeding;  // given to M; the pair takes them in pieces
  size_t pair_fed = 0;
  int32_t wanted = 0;  // rows: predictions after the last `wanted` tokens of `feeding`
  bool model_ready = false;
  bool pair_ready = false;
  std::vector<float> model_rows;  // [wanted, M's vocab]
  at::Tensor delta_rows;          // [wanted, vocab]
  int32_t drawn = 0;

  absl::Time submitted;
  absl::Time fed;
  absl::Time last_token;
  StreamTiming timing;
};

struct Scheduler::ModelRows {
  std::shared_ptr<Stream> stream;
  absl::StatusOr<UpstreamLogits> result;
  absl::Time arrived;
};

// A stack that somebody waits for.
struct Scheduler::Warming {
  std::shared_ptr<const LoraStack> stack;
  // Guarded by the scheduler's mutex.
  bool done = false;
  absl::Status result;
};

Scheduler::Scheduler(Upstream* upstream, std::unique_ptr<PairEngine> pair, const Options& options,
                     SchedulerMetrics* metrics)
    : upstream_(upstream),
      pair_(std::move(pair)),
      options_(options),
      metrics_(metrics),
      vocab_size_(options.tokens > 0 ? std::min(options.tokens, pair_->config().vocab_size)
                                     : pair_->config().vocab_size),
      drawer_(vocab_size_),
      thread_([this] { Run(); }) {}

Scheduler::~Scheduler() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

absl::StatusOr<std::shared_ptr<Scheduler::Stream>> Scheduler::Submit(
    StreamTask task, std::shared_ptr<StreamSink> sink) {
  auto stream = std::make_shared<Stream>();
  stream->task = std::move(task);
  stream->sink = std::move(sink);
  stream->submitted = absl::Now();
  stream->reserved =
      PagesUp(stream->task.prompt.size() + stream->task.max_tokens + stream->task.forced.size());
  absl::MutexLock lock(&mutex_);
  if (stopping_) return absl::UnavailableError("the server is stopping; ask another one");
  if (streams_ >= options_.max_streams) {
    metrics_->streams_refused.Increment();
    return absl::ResourceExhaustedError(absl::StrCat(
        streams_, " streams are running, the most that --max_streams allows; retry later"));
  }
  if (reserved_tokens_ + stream->reserved > pair_->total_tokens()) {
    metrics_->streams_refused.Increment();
    return absl::ResourceExhaustedError(absl::StrCat(
        "the pair's cache has room for ", pair_->total_tokens() - reserved_tokens_, " of ",
        pair_->total_tokens(), " tokens, prompt and completion need ", stream->reserved,
        "; retry later, ask for fewer tokens, or raise --kv_cache_tokens"));
  }
  ++streams_;
  reserved_tokens_ += stream->reserved;
  ++by_version_[stream->task.version->version];
  submitted_.push_back(stream);
  return stream;
}

void Scheduler::Cancel(const std::shared_ptr<Stream>& stream) {
  stream->cancelled = true;
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
}

absl::Status Scheduler::Warm(std::shared_ptr<const LoraStack> stack) {
  auto warming = std::make_shared<Warming>();
  warming->stack = std::move(stack);
  absl::MutexLock lock(&mutex_);
  if (stopping_) return absl::UnavailableError("the server is stopping");
  warmings_.push_back(warming);
  mutex_.Await(absl::Condition(&warming->done));
  return warming->result;
}

void Scheduler::WarmStacks(const absl::Status& stopping) {
  for (const auto& warming : std::exchange(new_warmings_, {})) {
    absl::Status result = stopping.ok() ? pair_->Warm(warming->stack) : stopping;
    absl::MutexLock lock(&mutex_);
    warming->result = std::move(result);
    warming->done = true;
  }
}

std::map<uint64_t, int> Scheduler::StreamsByVersion() const {
  absl::MutexLock lock(&mutex_);
  return by_version_;
}

bool Scheduler::HasEvents() const {
  return stopping_ || cancelled_ || !submitted_.empty() || !arrived_.empty() || !warmings_.empty();
}

void Scheduler::TakeEvents() {
  new_streams_.swap(submitted_);
  new_rows_.swap(arrived_);
  new_warmings_.swap(warmings_);
  cancelled_ = false;
}

void Scheduler::Run() {
  while (true) {
    const bool pair_work = std::any_of(running_.begin(), running_.end(),
                                       [](const auto& stream) { return !stream->pair_ready; });
    bool stopping;
    {
      absl::MutexLock lock(&mutex_);
      if (!pair_work) mutex_.Await(absl::Condition(this, &Scheduler::HasEvents));
      TakeEvents();
      stopping = stopping_;
    }
    WarmStacks(stopping ? absl::UnavailableError("the server is stopping") : absl::OkStatus());
    if (stopping) {
      metrics_->streams_running.Increment(static_cast<double>(new_streams_.size()));
      running_.insert(running_.end(), new_streams_.begin(), new_streams_.end());
      for (const auto& stream : std::vector<std::shared_ptr<Stream>>(running_)) {
        Finish(stream, absl::UnavailableError("the server is stopping; ask another one"), false);
      }
      return;
    }
    for (const auto& stream : std::exchange(new_streams_, {})) Admit(stream);
    for (ModelRows& rows : std::exchange(new_rows_, {})) {
      Stream& stream = *rows.stream;
      if (stream.finished) continue;
      if (!rows.result.ok()) {
        Finish(rows.stream, rows.result.status(), false);
        continue;
      }
      metrics_->upstream_round_trip.Observe(absl::ToDoubleSeconds(rows.arrived - stream.fed));
      stream.timing.upstream += rows.arrived - stream.fed;
      stream.model_rows = std::move(rows.result->logits);
      stream.model_ready = true;
    }
    for (const auto& stream : std::vector<std::shared_ptr<Stream>>(running_)) {
      if (stream->cancelled) Finish(stream, absl::CancelledError("the client cancelled"), false);
    }
    RunPairPass();
    for (const auto& stream : std::vector<std::shared_ptr<Stream>>(running_)) {
      if (!stream->finished && stream->model_ready && stream->pair_ready) Draw(stream);
    }
  }
}

void Scheduler::Admit(const std::shared_ptr<Stream>& stream) {
  metrics_->streams_running.Increment();
  metrics_->prompt_tokens.Increment(stream->task.prompt.size());
  running_.push_back(stream);
  stream->last_token = stream->submitted;
  absl::StatusOr<std::unique_ptr<UpstreamSession>> session = upstream_->NewSession();
  if (!session.ok()) {
    Finish(stream, session.status(), false);
    return;
  }
  stream->session = *std::move(session);
  const StreamTask& task = stream->task;
  stream->pair_stream = pair_->AddStream(task.version->stack, task.tenant, task.prompt);
  const int32_t known = pair_->known_tokens(stream->pair_stream);
  metrics_->known_prompt_tokens.Increment(known);
  Feed(stream, task.prompt, 1);
  stream->pair_fed = known;
}

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
  // M starts now; the pair's pass runs meanwhile on this thread.
  stream->session->Step(std::move(step), [this, stream](absl::StatusOr<UpstreamLogits> result) {
    const absl::Time now = absl::Now();
    absl::MutexLock lock(&mutex_);
    arrived_.push_back({stream, std::move(result), now});
  });
}

void Scheduler::RunPairPass() {
  std::vector<PairStep> steps;
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
    steps.push_back(step);
    owners.push_back(stream);
    tokens += static_cast<int64_t>(now);
  }
  const absl::Time start = absl::Now();
  const absl::StatusOr<at::Tensor> delta = pair_->Step(steps);
  const absl::Duration spent = absl::Now() - start;
  metrics_->pair_step.Observe(absl::ToDoubleSeconds(spent));
  metrics_->pair_rows.Observe(static_cast<double>(tokens));
  int64_t row = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    Stream& stream = *owners[i];
    if (!delta.ok()) {
      Finish(owners[i], delta.status(), false);
      continue;
    }
    stream.timing.pair += spent;
    stream.pair_fed += steps[i].tokens.size();
    if (steps[i].wanted > 0) {
      stream.delta_rows = delta->narrow(0, row, steps[i].wanted);
      stream.pair_ready = true;
      row += steps[i].wanted;
    }
  }
}

void Scheduler::Draw(const std::shared_ptr<Stream>& stream) {
  const StreamTask& task = stream->task;
  const int64_t model_vocab = upstream_->info().vocab_size;
  if (model_vocab < vocab_size_ ||
      static_cast<int64_t>(stream->model_rows.size()) != stream->wanted * model_vocab) {
    Finish(stream,
           absl::FailedPreconditionError(
               absl::StrCat("M gave ", stream->model_rows.size(), " logits where ", stream->wanted,
                            " rows of ", model_vocab, " (the pair's vocabulary: ", vocab_size_,
                            ") were asked for; was M exchanged?")),
           false);
    return;
  }
  std::vector<int32_t> next;
  for (int32_t row = 0; row < stream->wanted; ++row) {
    const absl::Span<const float> model(stream->model_rows.data() + row * model_vocab, vocab_size_);
    const absl::Span<const float> delta(
        stream->delta_rows.data_ptr<float>() + row * stream->delta_rows.size(1), vocab_size_);
    const absl::Status combined = drawer_.Combine(model, delta, task.alpha);
    if (!combined.ok()) {
      Finish(stream, combined, false);
      return;
    }
    DrawnToken token;
    token.offset_version = task.version->version;
    const int32_t position = static_cast<int32_t>(task.prompt.size()) + stream->drawn;
    if (task.forced.empty()) {
      const SampledToken sampled =
          drawer_.Draw(task.sampling, {task.seed, 0, static_cast<uint32_t>(position)});
      token.id = sampled.id;
      token.logprob = sampled.logprob;
      token.is_end =
          std::find(task.end_ids.begin(), task.end_ids.end(), token.id) != task.end_ids.end();
    } else {
      token.id = task.forced[stream->drawn];
      token.logprob = drawer_.Logprob(token.id);
    }
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
      return;
    }
    next.push_back(token.id);
  }
  if (task.forced.empty() && stream->drawn >= task.max_tokens) {
    Finish(stream, absl::OkStatus(), false);
    return;
  }
  if (!task.forced.empty()) {
    // The completion goes in as a whole; its last token needs no prediction after it.
    const size_t begin = stream->drawn - 1;
    const size_t end = std::min(task.forced.size() - 1, begin + kScoreRows);
    next.assign(task.forced.begin() + begin, task.forced.begin() + end);
  }
  const int32_t wanted = static_cast<int32_t>(next.size());
  Feed(stream, std::move(next), wanted);
}

void Scheduler::Finish(const std::shared_ptr<Stream>& stream, const absl::Status& status,
                       bool hit_end) {
  if (stream->finished) return;
  stream->finished = true;
  stream->timing.total = absl::Now() - stream->submitted;
  stream->session.reset();
  if (stream->pair_stream >= 0) pair_->RemoveStream(stream->pair_stream);
  running_.erase(std::remove(running_.begin(), running_.end(), stream), running_.end());
  (status.ok() ? metrics_->streams_finished : metrics_->streams_failed).Increment();
  metrics_->streams_running.Decrement();
  {
    absl::MutexLock lock(&mutex_);
    --streams_;
    reserved_tokens_ -= stream->reserved;
    const auto it = by_version_.find(stream->task.version->version);
    if (--it->second == 0) by_version_.erase(it);
  }
  // The sink holds the stream to cancel it, so the stream lets go of the sink here; the version may
  // leave memory once its last stream has ended.
  stream->task.version.reset();
  const std::shared_ptr<StreamSink> sink = std::move(stream->sink);
  sink->OnDone(status, hit_end, stream->timing);
}

}  // namespace unlearn
