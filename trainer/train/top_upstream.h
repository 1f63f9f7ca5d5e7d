#ifndef TRAINER_TRAIN_TOP_UPSTREAM_H_
#define TRAINER_TRAIN_TOP_UPSTREAM_H_

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "proxy/upstream/upstream.h"

namespace unlearn {

// For tests: an M with whole rows tells only its `top` most likely tokens, or as many as a step
// asks for up to `most`. tokens: ids that stand for something; M's law is that over them.
class TopUpstream : public Upstream {
 public:
  TopUpstream(Upstream* model, int32_t tokens, int32_t top, int32_t most)
      : model_(model), tokens_(tokens), info_(model->info()) {
    info_.top = top;
    info_.most_top = most;
    info_.logprob_error = 1e-6;
    info_.normaliser_error = 1e-5;
  }

  const UpstreamInfo& info() const override { return info_; }
  absl::StatusOr<UpstreamInfo> Probe() override { return info_; }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override {
    absl::StatusOr<std::unique_ptr<UpstreamSession>> session = model_->NewSession();
    if (!session.ok()) return session.status();
    return std::unique_ptr<UpstreamSession>(std::make_unique<Session>(this, *std::move(session)));
  }

  // The k most likely of a row of logits.
  static TopRow TopOf(absl::Span<const float> row, int32_t k) {
    std::vector<int32_t> order(row.size());
    std::iota(order.begin(), order.end(), 0);
    k = std::min<int32_t>(k, static_cast<int32_t>(row.size()));
    std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int32_t a, int32_t b) {
      return row[a] != row[b] ? row[a] > row[b] : a < b;
    });
    double sum = 0;
    for (const float logit : row) sum += std::exp(static_cast<double>(logit) - row[order[0]]);
    TopRow top;
    for (int32_t i = 0; i < k && row[order[i]] > -INFINITY; ++i) {
      top.ids.push_back(order[i]);
      top.logprobs.push_back(static_cast<double>(row[order[i]]) - row[order[0]] - std::log(sum));
    }
    return top;
  }

  std::atomic<int> asked_for_more{0};  // steps that named another number of tokens

 private:
  class Session : public UpstreamSession {
   public:
    Session(TopUpstream* owner, std::unique_ptr<UpstreamSession> session)
        : owner_(owner), session_(std::move(session)) {}
    void Step(UpstreamStep step, Callback done) override {
      const int32_t top =
          step.top > 0 ? std::min(step.top, owner_->info_.most_top) : owner_->info_.top;
      if (step.top > 0) ++owner_->asked_for_more;
      step.top = 0;
      session_->Step(std::move(step), [owner = owner_, top, done = std::move(done)](
                                          absl::StatusOr<UpstreamLogits> answer) mutable {
        if (answer.ok()) {
          const absl::Span<const float> logits = answer->logits;
          for (int64_t row = 0; row < answer->rows; ++row) {
            answer->tops.push_back(
                TopOf(logits.subspan(row * owner->info_.vocab_size, owner->tokens_), top));
          }
          answer->logits.clear();
        }
        done(std::move(answer));
      });
    }

   private:
    TopUpstream* const owner_;
    std::unique_ptr<UpstreamSession> session_;
  };

  Upstream* const model_;
  const int32_t tokens_;
  UpstreamInfo info_;
};

}  // namespace unlearn

#endif  // TRAINER_TRAIN_TOP_UPSTREAM_H_
