#include "proxy/upstream/local_engine.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "offset/base/status_macros.h"
#include "offset/model/torch_boundary.h"
#include "proxy/upstream/step_check.h"

namespace unlearn {
namespace {

// Steps of so few tokens run whole: decoding, drafted tokens, short follow-ups.
constexpr int64_t kShortStep = 32;
// Rows of short steps in a pass; the rest wait for the next one.
constexpr int64_t kMaxShortRows = 1024;
// Logits computed at once (128 MB), whatever the number of rows wanted.
constexpr int64_t kLogitsBlock = int64_t{32} << 20;

absl::Status ClosedError() {
  return absl::CancelledError("the session or its upstream was closed");
}

}  // namespace

LocalEngine::LocalEngine(std::shared_ptr<const Decoder> decoder, std::unique_ptr<KvCache> cache,
                         int64_t prefill_chunk)
    : decoder_(std::move(decoder)),
      cache_(std::move(cache)),
      prefill_chunk_(prefill_chunk),
      total_tokens_(cache_->total_tokens()),
      free_tokens_(total_tokens_),
      thread_([this] { Run(); }) {}

LocalEngine::~LocalEngine() { Stop(); }

void LocalEngine::Step(const std::shared_ptr<Sequence>& sequence, UpstreamStep step,
                       UpstreamSession::Callback done) {
  {
    absl::MutexLock lock(&mutex_);
    if (!refusing_) {
      PendingStep& pending = sequence->steps.emplace_back();
      pending.step = std::move(step);
      pending.done = std::move(done);
      if (!sequence->active) {
        sequence->active = true;
        arrivals_.push_back(sequence);
      }
      return;
    }
  }
  done(ClosedError());
}

void LocalEngine::Close(const std::shared_ptr<Sequence>& sequence) {
  absl::MutexLock lock(&mutex_);
  sequence->closed = true;
  if (stopped_) return;
  if (!sequence->active) {
    released_.push_back(sequence);
    return;
  }
  const auto over = [this, &sequence]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return sequence->ended || stopped_;
  };
  mutex_.Await(absl::Condition(&over));
}

void LocalEngine::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void LocalEngine::Cancel(std::deque<PendingStep> steps) {
  for (PendingStep& step : steps) {
    if (!step.finished) step.done(ClosedError());
  }
}

bool LocalEngine::HasWork() const {
  return stop_ || !arrivals_.empty() || !released_.empty() || !active_.empty();
}

void LocalEngine::Run() {
  while (NextPass()) RunPass();
  CancelAll();
}

bool LocalEngine::NextPass() {
  SequenceList freed;
  SequenceList closed;
  std::vector<std::deque<PendingStep>> cancelled;
  heads_.clear();
  {
    absl::MutexLock lock(&mutex_);
    SequenceList waiting;
    SequenceList answered;
    for (std::shared_ptr<Sequence>& sequence : active_) {
      const bool finished = sequence->steps.front().finished;
      if (finished) sequence->steps.pop_front();
      if (!sequence->steps.empty()) {
        (finished ? answered : waiting).push_back(std::move(sequence));
      } else if (sequence->closed) {
        closed.push_back(std::move(sequence));
        cancelled.emplace_back();
      } else {
        sequence->active = false;
      }
    }
    active_ = std::move(waiting);
    // Who was just answered queues up behind who waited.
    active_.insert(active_.end(), answered.begin(), answered.end());
    if (closed.empty()) mutex_.Await(absl::Condition(this, &LocalEngine::HasWork));
    if (stop_) {
      // CancelAll answers; these, closed with nothing left to answer, are ended there too.
      active_.insert(active_.end(), closed.begin(), closed.end());
      return false;
    }
    active_.insert(active_.end(), arrivals_.begin(), arrivals_.end());
    arrivals_.clear();
    freed.swap(released_);
    const auto is_closed = [&](const std::shared_ptr<Sequence>& sequence) {
      if (!sequence->closed) return false;
      closed.push_back(sequence);
      cancelled.push_back(std::move(sequence->steps));
      return true;
    };
    active_.erase(std::remove_if(active_.begin(), active_.end(), is_closed), active_.end());
    for (const std::shared_ptr<Sequence>& sequence : active_) {
      heads_.emplace_back(sequence.get(), &sequence->steps.front());
    }
  }
  freed.insert(freed.end(), closed.begin(), closed.end());
  for (const std::shared_ptr<Sequence>& sequence : freed) {
    if (sequence->cache_sequence >= 0) cache_->RemoveSequence(sequence->cache_sequence);
  }
  free_tokens_.store(cache_->free_tokens(), std::memory_order_relaxed);
  if (!closed.empty()) {
    for (std::deque<PendingStep>& steps : cancelled) Cancel(std::move(steps));
    absl::MutexLock lock(&mutex_);
    for (const std::shared_ptr<Sequence>& sequence : closed) sequence->ended = true;
  }
  return true;
}

void LocalEngine::CancelAll() {
  std::vector<std::deque<PendingStep>> cancelled;
  {
    absl::MutexLock lock(&mutex_);
    refusing_ = true;
    active_.insert(active_.end(), arrivals_.begin(), arrivals_.end());
    arrivals_.clear();
    for (const std::shared_ptr<Sequence>& sequence : active_) {
      cancelled.push_back(std::move(sequence->steps));
    }
    active_.clear();
  }
  for (std::deque<PendingStep>& steps : cancelled) Cancel(std::move(steps));
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
}

void LocalEngine::RunPass() {
  for (const auto& [sequence, step] : heads_) {
    if (step->begun) continue;
    const absl::Status status = Begin(*sequence, step->step);
    step->begun = true;
    if (!status.ok() || step->step.token_ids.empty()) Finish(*sequence, *step, status);
  }
  const std::vector<Slice> slices = ChooseSlices();
  if (slices.empty()) return;
  const absl::Status status = RunSlices(slices);
  free_tokens_.store(cache_->free_tokens(), std::memory_order_relaxed);
  for (const Slice& slice : slices) {
    if (!status.ok()) {
      slice.sequence->length = slice.step->step.base_position;
      cache_->Truncate(slice.sequence->cache_sequence, slice.sequence->length);
    }
    if (!status.ok() || slice.step->rows_run == slice.step->step.token_ids.size()) {
      Finish(*slice.sequence, *slice.step, status);
    }
  }
}

absl::Status LocalEngine::Begin(Sequence& sequence, const UpstreamStep& step) {
  const ModelConfig& config = decoder_->config();
  RETURN_IF_ERROR(CheckStep(step, sequence.length, config.max_positions, config.vocab_size));
  const int64_t length = step.base_position + static_cast<int64_t>(step.token_ids.size());
  if (sequence.cache_sequence < 0) sequence.cache_sequence = cache_->AddSequence();
  cache_->Truncate(sequence.cache_sequence, step.base_position);
  sequence.length = step.base_position;
  // For the whole step at once: two prompts that each got half would wait for each other.
  return cache_->Reserve(sequence.cache_sequence, length);
}

std::vector<LocalEngine::Slice> LocalEngine::ChooseSlices() {
  std::vector<Slice> slices;
  int64_t short_rows = 0;
  int64_t long_rows = 0;
  for (const auto& [sequence, step] : heads_) {
    if (step->finished) continue;
    const int64_t remaining = static_cast<int64_t>(step->step.token_ids.size()) - step->rows_run;
    if (remaining <= kShortStep) {
      if (short_rows + remaining > kMaxShortRows) continue;
      short_rows += remaining;
      slices.push_back({sequence, step, remaining});
    } else if (long_rows < prefill_chunk_) {
      const int64_t rows = std::min(remaining, prefill_chunk_ - long_rows);
      long_rows += rows;
      slices.push_back({sequence, step, rows});
    }
  }
  return slices;
}

absl::Status LocalEngine::RunSlices(const std::vector<Slice>& slices) {
  TokenBatch batch;
  std::vector<int64_t> wanted;          // rows of the batch
  std::vector<PendingStep*> wanted_by;  // the step of each
  for (const Slice& slice : slices) {
    const UpstreamStep& step = slice.step->step;
    for (int64_t i = slice.step->rows_run; i < slice.step->rows_run + slice.rows; ++i) {
      const bool is_last = i + 1 == step.token_ids.size();
      if (step.positions == UpstreamStep::Positions::kAll ||
          (step.positions == UpstreamStep::Positions::kLast && is_last)) {
        wanted.push_back(batch.size());
        wanted_by.push_back(slice.step);
      }
      batch.Add(step.token_ids[i], slice.sequence->cache_sequence, step.base_position + i);
    }
  }
  ASSIGN_OR_RETURN(const at::Tensor hidden, ForwardTokens(*decoder_, batch, *cache_));
  RETURN_IF_ERROR(CatchTorch("M's logits", [&]() -> absl::Status {
    c10::InferenceMode inference;
    const int64_t vocab_size = decoder_->config().vocab_size;
    const int64_t block = std::max<int64_t>(1, kLogitsBlock / vocab_size);
    for (int64_t begin = 0; begin < wanted.size(); begin += block) {
      const int64_t rows = std::min<int64_t>(block, wanted.size() - begin);
      const at::Tensor ids =
          at::from_blob(wanted.data() + begin, {rows}, at::TensorOptions(at::kLong));
      const bool every_row = rows == batch.size();
      const at::Tensor logits =
          decoder_->Logits(every_row ? hidden : hidden.index_select(0, ids)).contiguous();
      const float* row = logits.data_ptr<float>();
      for (int64_t i = begin; i < begin + rows; ++i, row += vocab_size) {
        UpstreamLogits& result = wanted_by[i]->result;
        result.logits.insert(result.logits.end(), row, row + vocab_size);
        ++result.rows;
      }
    }
    return absl::OkStatus();
  }));
  for (const Slice& slice : slices) {
    slice.step->rows_run += slice.rows;
    slice.sequence->length += slice.rows;
  }
  return absl::OkStatus();
}

void LocalEngine::Finish(Sequence& sequence, PendingStep& step, absl::Status status) {
  step.finished = true;
  // Moved out so that whatever it holds is released before the session may end.
  UpstreamSession::Callback done = std::move(step.done);
  if (status.ok()) {
    done(std::move(step.result));
  } else {
    done(std::move(status));
  }
}

}  // namespace unlearn
