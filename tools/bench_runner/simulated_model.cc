#include "tools/bench_runner/simulated_model.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proxy/upstream/step_check.h"

namespace unlearn {
namespace {

constexpr size_t kShifts = 1 << 16;

}  // namespace

NoiseRows::NoiseRows(int32_t vocab_size, uint64_t seed) : vocab_size_(vocab_size) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  numbers_.resize(vocab_size_ + kShifts);
  for (float& number : numbers_) number = normal(random);
}

absl::Span<const float> NoiseRows::Row(uint64_t key) const {
  return {numbers_.data() + (key >> 32) % kShifts, vocab_size_};
}

uint64_t NoiseRows::Key(uint64_t before, int32_t token) {
  uint64_t key = (before ^ (static_cast<uint64_t>(token) + 1)) * 0x9E3779B97F4A7C15;
  return key ^ (key >> 29);
}

// Keys and lengths belong to the caller, of whom there is one at a time, and while a step is with
// `inner` to its callback.
class SimulatedModel::Session : public UpstreamSession {
 public:
  explicit Session(SimulatedModel* model) : model_(model) {}

  ~Session() override {
    inner_.reset();  // its step is answered or cancelled: afterwards nothing is held any more
    std::vector<Answer> cancelled;
    {
      absl::MutexLock lock(&model_->mutex_);
      auto& held = model_->held_;
      for (size_t i = 0; i < held.size();) {
        if (held[i].session != this) {
          ++i;
          continue;
        }
        cancelled.push_back(std::move(held[i]));
        held.erase(held.begin() + i);
      }
      std::make_heap(held.begin(), held.end(), DueLater);
      const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(model_->mutex_) {
        return model_->answering_ != this;
      };
      model_->mutex_.Await(absl::Condition(&idle));
    }
    for (Answer& answer : cancelled) answer.done(absl::CancelledError("the session was closed"));
  }

  void Step(UpstreamStep step, Callback done) override {
    Answer answer;
    answer.session = this;
    answer.done = std::move(done);
    const SimulatedModelOptions& options = model_->options_;
    const int64_t count = static_cast<int64_t>(step.token_ids.size());
    answer.due = absl::Now() + options.call + std::max<int64_t>(count - 1, 0) * options.position;
    const absl::Status checked = CheckStep(step, static_cast<int64_t>(tokens_.size()),
                                           model_->info_.max_context, model_->info_.vocab_size);
    if (!checked.ok()) {
      answer.result = checked;
      model_->Hold(std::move(answer));
      return;
    }
    keys_.resize(step.base_position + 1);
    tokens_.resize(step.base_position);
    inner_length_ = std::min<int64_t>(inner_length_, step.base_position);
    for (const int32_t token : step.token_ids) {
      keys_.push_back(NoiseRows::Key(keys_.back(), token));
      tokens_.push_back(token);
    }
    const int64_t end = static_cast<int64_t>(tokens_.size());
    const int64_t first = step.positions == UpstreamStep::Positions::kAll    ? end - count
                          : step.positions == UpstreamStep::Positions::kLast ? end - 1
                                                                             : end;
    std::vector<Row> rows;
    bool known = true;
    for (int64_t at = first; at < end; ++at) {
      rows.push_back(model_->Find(keys_[at + 1]));
      known = known && rows.back() != nullptr;
    }
    if (known) {
      answer.result = Copy(rows);
      model_->Hold(std::move(answer));
    } else if (model_->inner_ == nullptr) {
      for (size_t i = 0; i < rows.size(); ++i) {
        rows[i] = model_->Remember(keys_[first + i + 1], nullptr);
      }
      answer.result = Copy(rows);
      model_->Hold(std::move(answer));
    } else {
      Compute(std::move(answer), first);
    }
  }

 private:
  static UpstreamLogits Copy(const std::vector<Row>& rows) {
    UpstreamLogits logits;
    logits.rows = static_cast<int64_t>(rows.size());
    for (const Row& row : rows) {
      logits.logits.insert(logits.logits.end(), row->begin(), row->end());
    }
    return logits;
  }

  // Runs all tokens that the inner model has not seen, and answers with the rows from `first` on.
  void Compute(Answer answer, int64_t first) {
    if (inner_ == nullptr) {
      auto inner = model_->inner_->NewSession();
      if (!inner.ok()) {
        answer.result = inner.status();
        model_->Hold(std::move(answer));
        return;
      }
      inner_ = *std::move(inner);
    }
    const int64_t begin = std::min(inner_length_, first);
    inner_length_ = static_cast<int64_t>(tokens_.size());
    UpstreamStep step;
    step.base_position = static_cast<int32_t>(begin);
    step.token_ids.assign(tokens_.begin() + begin, tokens_.end());
    step.positions = UpstreamStep::Positions::kAll;
    inner_->Step(std::move(step), [this, begin, first, answer = std::move(answer)](
                                      absl::StatusOr<UpstreamLogits> logits) mutable {
      if (logits.ok()) {
        std::vector<Row> rows;
        const int64_t vocab = model_->info_.vocab_size;
        for (int64_t i = 0; i < logits->rows; ++i) {
          const Row row = model_->Remember(keys_[begin + i + 1], &logits->logits[i * vocab]);
          if (begin + i >= first) rows.push_back(row);
        }
        answer.result = Copy(rows);
      } else {
        answer.result = logits.status();
      }
      model_->Hold(std::move(answer));
    });
  }

  SimulatedModel* const model_;
  std::vector<uint64_t> keys_ = {0};  // of the first 0, 1, 2, ... tokens
  std::vector<int32_t> tokens_;
  std::unique_ptr<UpstreamSession> inner_;
  int64_t inner_length_ = 0;
};

SimulatedModel::SimulatedModel(UpstreamInfo info, Upstream* inner,
                               const SimulatedModelOptions& options)
    : info_(std::move(info)),
      inner_(inner),
      options_(options),
      noise_(Noise(info_.vocab_size)),
      thread_([this] { Run(); }) {}

SimulatedModel::~SimulatedModel() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
    changed_.Signal();
  }
  thread_.join();
}

absl::StatusOr<std::unique_ptr<UpstreamSession>> SimulatedModel::NewSession() {
  return std::make_unique<Session>(this);
}

int64_t SimulatedModel::computed_rows() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(rows_.size());
}

SimulatedModel::Row SimulatedModel::Find(uint64_t key) const {
  absl::MutexLock lock(&mutex_);
  const auto found = rows_.find(key);
  return found == rows_.end() ? nullptr : found->second;
}

SimulatedModel::Row SimulatedModel::Remember(uint64_t key, const float* before_noise) {
  const absl::Span<const float> noise = noise_.Row(key);
  auto row = std::make_shared<std::vector<float>>(noise.begin(), noise.end());
  for (size_t i = 0; i < row->size(); ++i) {
    (*row)[i] = (before_noise != nullptr ? before_noise[i] : 0) +
                static_cast<float>(options_.noise) * (*row)[i];
  }
  absl::MutexLock lock(&mutex_);
  return rows_.emplace(key, std::move(row)).first->second;
}

void SimulatedModel::Hold(Answer answer) {
  absl::MutexLock lock(&mutex_);
  held_.push_back(std::move(answer));
  std::push_heap(held_.begin(), held_.end(), DueLater);
  changed_.Signal();
}

void SimulatedModel::Run() {
  absl::MutexLock lock(&mutex_);
  while (!stop_) {
    if (held_.empty()) {
      changed_.Wait(&mutex_);
      continue;
    }
    if (absl::Now() < held_.front().due) {
      changed_.WaitWithDeadline(&mutex_, held_.front().due);
      continue;
    }
    std::pop_heap(held_.begin(), held_.end(), DueLater);
    {
      Answer answer = std::move(held_.back());
      held_.pop_back();
      answering_ = answer.session;
      mutex_.Unlock();
      answer.done(std::move(answer.result));
      answer.done = nullptr;  // what it holds is released before the session may end
      mutex_.Lock();
    }
    answering_ = nullptr;
  }
}

}  // namespace unlearn
