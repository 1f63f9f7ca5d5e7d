#include "proxy/scheduler/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "offset/base/status_macros.h"
#include "proxy/scheduler/scheduler_stream.h"

namespace unlearn {
namespace {

int64_t PagesUp(int64_t tokens) {
  const int64_t page = KvCache::kPageTokens;
  return (tokens + page - 1) / page * page;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Scheduler>> Scheduler::Create(Upstream* upstream,
                                                             std::unique_ptr<PairEngine> pair,
                                                             const Options& options,
                                                             SchedulerMetrics* metrics) {
  const int64_t pair_vocab = pair->config().vocab_size;
  const int64_t tokens = options.tokens > 0 ? std::min(options.tokens, pair_vocab) : pair_vocab;
  ASSIGN_OR_RETURN(auto drawer, pair->MakeDrawer(tokens, options.max_streams + kSpareRows));
  return std::unique_ptr<Scheduler>(
      new Scheduler(upstream, std::move(pair), std::move(drawer), options, metrics, tokens));
}

Scheduler::Scheduler(Upstream* upstream, std::unique_ptr<PairEngine> pair,
                     std::unique_ptr<EnsembleDrawer> drawer, const Options& options,
                     SchedulerMetrics* metrics, int64_t vocab_size)
    : upstream_(upstream),
      pair_(std::move(pair)),
      drawer_(std::move(drawer)),
      options_(options),
      metrics_(metrics),
      vocab_size_(vocab_size),
      tells_tops_(upstream->info().top > 0),
      slots_(options.max_streams, kSpareRows),
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
  ASSIGN_OR_RETURN(const Decoding decoding, ChooseDecoding(task.decoding, upstream_->info()));
  if (!task.forced.empty() && tells_tops_) {
    return absl::UnimplementedError(
        absl::StrCat("M tells the ", upstream_->info().top,
                     " most likely tokens only, so a given text cannot be "
                     "scored; use an upstream that tells whole rows"));
  }
  auto stream = std::make_shared<Stream>();
  stream->task = std::move(task);
  stream->decoding = decoding;
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
  if (!pair_->needs_warming() || stack->empty()) return absl::OkStatus();
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

absl::Time Scheduler::GatherUntil() const {
  absl::Time until = absl::InfinitePast();
  bool others = false;  // that may join
  for (const auto& stream : running_) {
    if (!stream->PairHasWork()) {
      others |= !stream->model_ready;
      continue;
    }
    // A prefill is worth a pass of its own, and for a draft M itself waits.
    if (stream->feeding.size() > 1 || stream->drafts_left > 0) return absl::InfinitePast();
    // Half of the time that M will not need the pair's row.
    const double spare = (costs_.Call(1) - 2 * costs_.pass()) / 2;
    const absl::Time latest = stream->asked + absl::Seconds(std::max(0.0, spare));
    until = until == absl::InfinitePast() ? latest : std::min(until, latest);
  }
  return others ? until : absl::InfinitePast();
}

void Scheduler::Run() {
  while (true) {
    const bool pair_work = std::any_of(running_.begin(), running_.end(),
                                       [](const auto& stream) { return stream->PairHasWork(); });
    bool stopping, gathered;
    {
      absl::MutexLock lock(&mutex_);
      const absl::Condition events(this, &Scheduler::HasEvents);
      if (!pair_work) mutex_.Await(events);
      // What comes while M's answers are far off shares the pass.
      const absl::Time until = pair_work ? GatherUntil() : absl::InfinitePast();
      gathered = until > absl::Now() && mutex_.AwaitWithDeadline(events, until);
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
      if (rows.number >= 0 && rows.number != stream.streamed->number) continue;
      if (!rows.status.ok()) {
        Finish(rows.stream, rows.status, false);
        continue;
      }
      if (rows.number >= 0) {
        const absl::Status taken = TakeSampled(stream, std::move(rows.sampled), rows.arrived);
        if (!taken.ok()) Finish(rows.stream, taken, false);
        continue;
      }
      if (stream.streamed) {
        stream.streamed->asking = false;
        stream.streamed->rows.front().top = std::move(rows.top);
      }
      const absl::Duration spent = rows.arrived - stream.asked;
      metrics_->upstream_round_trip.Observe(absl::ToDoubleSeconds(spent));
      stream.timing.upstream += spent;
      if (!tells_tops_ && stream.feeding.size() == static_cast<size_t>(stream.wanted)) {
        costs_.SawCall(stream.wanted, absl::ToDoubleSeconds(spent));
      }
      stream.top = std::move(rows.top);
      stream.model_ready = true;
    }
    for (const auto& stream : std::vector<std::shared_ptr<Stream>>(running_)) {
      if (stream->cancelled) Finish(stream, absl::CancelledError("the client cancelled"), false);
    }
    // What is complete goes on before others' passes.
    Draw();
    if (gathered) continue;
    RunPairPass();
    Draw();
  }
}

void Scheduler::Draw() {
  if (tells_tops_) {
    DrawReadyTops();
    VerifyStreamed();
  } else {
    DrawDrafts();
    DrawReady();
  }
}

void Scheduler::Admit(const std::shared_ptr<Stream>& stream) {
  metrics_->streams_running.Increment();
  metrics_->prompt_tokens.Increment(stream->task.prompt.size());
  running_.push_back(stream);
  stream->last_token = stream->submitted;
  stream->slots = slots_.TakeOne();
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
  if (stream->decoding == Decoding::kDraftAndVerify && task.forced.empty() &&
      !task.version->stack->empty()) {
    stream->draft_length.emplace(task.decoding == Decoding::kDraftAndVerify);
  }
  Begin(*stream, task.prompt, 1);
  stream->pair_fed = known;
  if (stream->decoding == Decoding::kStreamAndVerify) {
    stream->streamed.emplace();
    stream->streamed->text = task.prompt;
    OpenSample(stream);
  } else {
    AskModel(stream);
  }
}

void Scheduler::Finish(const std::shared_ptr<Stream>& stream, const absl::Status& status,
                       bool hit_end) {
  if (stream->finished) return;
  stream->finished = true;
  stream->timing.total = absl::Now() - stream->submitted;
  stream->session.reset();
  // Only now: the session's end may still have staged M's rows.
  slots_.GiveBack(stream->slots);
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
