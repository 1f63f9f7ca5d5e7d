#ifndef PROXY_SCHEDULER_FAKE_UPSTREAM_H_
#define PROXY_SCHEDULER_FAKE_UPSTREAM_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "offset/combine/philox.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// An M for tests: its logits are a pure function of the tokens so far. One thread answers the steps
// of all sessions, in an order that is drawn anew each time; steps can be held back, and answers
// changed. Thread-safe.
class FakeUpstream : public Upstream {
 public:
  // `padded_rows` at the end of the vocabulary stand for no token and are M's favourites: whoever
  // looks at them shows it.
  FakeUpstream(int vocab_size, int padded_rows)
      : tokens_(vocab_size - padded_rows), thread_([this] { Run(); }) {
    info_.kind = "fake";
    info_.vocab_size = vocab_size;
    info_.max_context = 1 << 20;
  }
  ~FakeUpstream() override {
    {
      absl::MutexLock lock(&mutex_);
      stop_ = true;
    }
    thread_.join();
  }

  // The row after these tokens: [vocab_size].
  std::vector<float> Row(absl::Span<const int32_t> tokens) const {
    uint64_t hash = 0xcbf29ce484222325;
    for (const int32_t token : tokens) hash = (hash ^ token) * 0x100000001b3;
    std::vector<float> row(info_.vocab_size, 100.0f);
    for (int i = 0; i < tokens_; ++i) {
      const uint32_t bits =
          Philox({static_cast<uint32_t>(i), 0, 0, 0},
                 {static_cast<uint32_t>(hash), static_cast<uint32_t>(hash >> 32)})[0];
      row[i] = static_cast<float>(bits) * (24.0f / 4294967296.0f) - 12.0f;
    }
    if (near_row_) {
      const std::vector<float> near = near_row_(tokens);
      for (int i = 0; i < tokens_; ++i) row[i] = near[i] + row[i] / 16;
    }
    return row;
  }

  // M scores drafts; its rows are those of `row`, [tokens], give or take 0.75. To be called before
  // use.
  void ScoreDrafts(std::function<std::vector<float>(absl::Span<const int32_t> tokens)> row) {
    info_.scores_drafts = true;
    near_row_ = std::move(row);
  }

  // From now on only the `top` most likely tokens are told, or as many as a step asks for up to
  // `most`; of tokens alone, the padding left out. To be called before use.
  void TellTops(int32_t top, int32_t most) {
    info_.top = top;
    info_.most_top = most;
    info_.logprob_error = 1e-6;
    info_.normaliser_error = 1e-5;
  }

  // Its sessions Sample, too: in pieces of one to `piece` tokens. Every `untold`'th token comes
  // without its law (0: none does). To be called before use, after TellTops.
  void DrawTokens(int piece, int untold) {
    info_.samples = true;
    piece_ = piece;
    untold_ = untold;
  }

  // Steps wait from now on, until Release.
  void Hold() {
    absl::MutexLock lock(&mutex_);
    held_ = true;
  }
  void Release() {
    absl::MutexLock lock(&mutex_);
    held_ = false;
  }
  // Waits until this many steps are held.
  void WaitForHeld(size_t steps) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, steps] { return jobs_.size() >= steps; };
    mutex_.Await(absl::Condition(&enough));
  }
  // Waits until this many steps of all sessions have been answered, callbacks included.
  void WaitForAnswers(int64_t answers) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, answers] { return answers_ >= answers; };
    mutex_.Await(absl::Condition(&enough));
  }
  int open_sessions() const {
    absl::MutexLock lock(&mutex_);
    return open_sessions_;
  }

  // Asked for each answer with the session's tokens; set before use.
  std::function<void(const std::vector<int32_t>& tokens, absl::StatusOr<UpstreamLogits>& answer)>
      change_answer;
  // The same for each piece that M draws.
  std::function<void(const std::vector<int32_t>& tokens, absl::StatusOr<SampledRows>& answer)>
      change_sample;
  // Asked for each new session; set before use.
  std::function<absl::Status()> on_new_session;

  const UpstreamInfo& info() const override { return info_; }
  absl::StatusOr<UpstreamInfo> Probe() override { return info_; }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override {
    if (on_new_session) {
      const absl::Status status = on_new_session();
      if (!status.ok()) return status;
    }
    absl::MutexLock lock(&mutex_);
    ++open_sessions_;
    return std::unique_ptr<UpstreamSession>(std::make_unique<Session>(this));
  }

 private:
  class Session : public UpstreamSession {
   public:
    explicit Session(FakeUpstream* upstream) : upstream_(upstream) {}
    ~Session() override { upstream_->Close(this); }
    void Step(UpstreamStep step, Callback done) override {
      Job job;
      job.session = this;
      job.step = std::move(step);
      job.done = std::move(done);
      upstream_->Enqueue(std::move(job));
    }
    void Sample(UpstreamSampling sampling, SampleCallback rows) override {
      Job job;
      job.session = this;
      job.sampling = std::make_unique<UpstreamSampling>(std::move(sampling));
      job.rows = std::move(rows);
      upstream_->Enqueue(std::move(job));
    }

   private:
    friend class FakeUpstream;
    FakeUpstream* const upstream_;
    std::vector<int32_t> tokens_;  // of the upstream's thread
    bool closed_ = false;          // guarded by the upstream's mutex
  };

  struct Job {
    Session* session;
    UpstreamStep step;
    UpstreamSession::Callback done;
    std::unique_ptr<UpstreamSampling> sampling;  // instead of a step
    UpstreamSession::SampleCallback rows;
  };

  // Ends what the session's M was drawing; the tokens that this was to follow stay.
  void Enqueue(Job job) {
    absl::MutexLock lock(&mutex_);
    for (Job& other : jobs_) {
      if (other.session == job.session && other.sampling != nullptr) other.rows = nullptr;
    }
    jobs_.push_back(std::move(job));
  }

  bool HasWork() const { return stop_ || (!held_ && !jobs_.empty()); }

  void Run() {
    std::mt19937 random(1);
    while (true) {
      Job job;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(this, &FakeUpstream::HasWork));
        if (stop_) return;
        // Any session's oldest step.
        Session* const session = jobs_[random() % jobs_.size()].session;
        size_t chosen = 0;
        while (jobs_[chosen].session != session) ++chosen;
        job = std::move(jobs_[chosen]);
        jobs_.erase(jobs_.begin() + chosen);
        running_ = job.session;
      }
      if (job.sampling != nullptr) {
        DrawPiece(job, random);
        continue;
      }
      job.done(Answer(*job.session, job.step));
      absl::MutexLock lock(&mutex_);
      running_ = nullptr;
      ++answers_;
    }
  }

  absl::StatusOr<UpstreamLogits> Answer(Session& session, const UpstreamStep& step) {
    std::vector<int32_t>& tokens = session.tokens_;
    if (step.token_ids.empty() || step.base_position > tokens.size()) {
      return absl::InvalidArgumentError("a step must follow what the session holds");
    }
    tokens.resize(step.base_position);
    absl::StatusOr<UpstreamLogits> answer = UpstreamLogits();
    for (size_t i = 0; i < step.token_ids.size(); ++i) {
      tokens.push_back(step.token_ids[i]);
      const bool last = i + 1 == step.token_ids.size();
      if (step.positions == UpstreamStep::Positions::kNone ||
          (step.positions == UpstreamStep::Positions::kLast && !last)) {
        continue;
      }
      const std::vector<float> row = Row(tokens);
      ++answer->rows;
      if (info_.top > 0) {
        answer->tops.push_back(TopOf(row, step.top > 0 ? step.top : info_.top, info_.most_top));
      } else {
        answer->logits.insert(answer->logits.end(), row.begin(), row.end());
      }
    }
    if (change_answer) change_answer(tokens, answer);
    return answer;
  }

  // Some tokens of a Sample; the rest of it waits like other steps do.
  void DrawPiece(Job& job, std::mt19937& random) {
    std::vector<int32_t>& tokens = job.session->tokens_;
    UpstreamSampling& sampling = *job.sampling;
    if (!sampling.token_ids.empty()) {
      if (sampling.base_position > tokens.size()) {
        job.rows(absl::InvalidArgumentError("a sample must follow what the session holds"));
        return Done();
      }
      tokens.resize(sampling.base_position);
      tokens.insert(tokens.end(), sampling.token_ids.begin(), sampling.token_ids.end());
      sampling.token_ids.clear();
    }
    if (job.rows == nullptr) return Done();
    SampledRows piece;
    for (int left = 1 + random() % piece_; left > 0 && sampling.max_tokens > 0;
         --left, --sampling.max_tokens) {
      const std::vector<float> row = Row(tokens);
      const TopRow all = TopOf(row, tokens_, tokens_);
      SampledRow sampled;
      sampled.id = all.ids.front();
      if (sampling.temperature > 0) {
        std::vector<double> weights;
        for (const double logprob : all.logprobs) {
          weights.push_back(std::exp(logprob / sampling.temperature));
        }
        sampled.id =
            all.ids[std::discrete_distribution<int>(weights.begin(), weights.end())(random)];
      }
      sampled.logprob =
          all.logprobs[std::find(all.ids.begin(), all.ids.end(), sampled.id) - all.ids.begin()];
      if (untold_ == 0 || random() % untold_ != 0)
        sampled.top = TopOf(row, info_.top, info_.most_top);
      tokens.push_back(sampled.id);
      piece.rows.push_back(std::move(sampled));
    }
    piece.ended = sampling.max_tokens == 0;
    absl::StatusOr<SampledRows> answer = std::move(piece);
    if (change_sample) change_sample(tokens, answer);
    const bool ended = !answer.ok() || answer->ended;
    job.rows(std::move(answer));
    if (!ended) {
      absl::MutexLock lock(&mutex_);
      // Unless something else was asked meanwhile.
      const bool replaced = std::any_of(jobs_.begin(), jobs_.end(), [&](const Job& other) {
        return other.session == job.session;
      });
      if (!replaced && !job.session->closed_) jobs_.push_back(std::move(job));
    }
    Done();
  }

  void Done() {
    absl::MutexLock lock(&mutex_);
    running_ = nullptr;
    ++answers_;
  }

  TopRow TopOf(const std::vector<float>& row, int32_t top, int32_t most) const {
    std::vector<int32_t> order(tokens_);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
    double sum = 0;
    for (const int32_t id : order) sum += std::exp(static_cast<double>(row[id]));
    TopRow told;
    for (int i = 0; i < std::min({top, most, tokens_}); ++i) {
      told.ids.push_back(order[i]);
      told.logprobs.push_back(row[order[i]] - std::log(sum));
    }
    return told;
  }

  void Close(Session* session) {
    std::vector<Job> cancelled;
    {
      absl::MutexLock lock(&mutex_);
      session->closed_ = true;
      for (size_t i = 0; i < jobs_.size();) {
        if (jobs_[i].session == session) {
          cancelled.push_back(std::move(jobs_[i]));
          jobs_.erase(jobs_.begin() + i);
        } else {
          ++i;
        }
      }
    }
    for (Job& job : cancelled) {
      if (job.sampling == nullptr) job.done(absl::CancelledError("the session has ended"));
    }
    absl::MutexLock lock(&mutex_);
    const auto idle = [this, session] { return running_ != session; };
    mutex_.Await(absl::Condition(&idle));
    --open_sessions_;
  }

  UpstreamInfo info_;
  const int tokens_;
  int piece_ = 1;
  int untold_ = 0;
  std::function<std::vector<float>(absl::Span<const int32_t> tokens)> near_row_;
  mutable absl::Mutex mutex_;
  std::vector<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  Session* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  int open_sessions_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t answers_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace unlearn

#endif  // PROXY_SCHEDULER_FAKE_UPSTREAM_H_
