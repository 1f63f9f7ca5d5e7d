#include "tools/bench_runner/simulated_model.h"

#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"

namespace unlearn {
namespace {

constexpr int kVocabulary = 40;

UpstreamInfo Info() {
  UpstreamInfo info;
  info.vocab_size = kVocabulary;
  info.max_context = 64;
  return info;
}

// An M whose row after some tokens is their sum plus each id, and which counts the tokens it runs.
class SumUpstream : public Upstream {
 public:
  const UpstreamInfo& info() const override { return info_; }
  absl::StatusOr<UpstreamInfo> Probe() override { return info_; }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override {
    return std::make_unique<Session>(this);
  }
  int tokens_run() const { return tokens_run_; }

  static float Logit(const std::vector<int32_t>& tokens, int id) {
    int sum = id;
    for (const int32_t token : tokens) sum += token;
    return static_cast<float>(sum);
  }

 private:
  class Session : public UpstreamSession {
   public:
    explicit Session(SumUpstream* upstream) : upstream_(upstream) {}
    void Step(UpstreamStep step, Callback done) override {
      UpstreamLogits logits;
      tokens_.resize(step.base_position);
      for (const int32_t token : step.token_ids) {
        ++upstream_->tokens_run_;
        tokens_.push_back(token);
        ++logits.rows;
        for (int id = 0; id < kVocabulary; ++id) logits.logits.push_back(Logit(tokens_, id));
      }
      done(std::move(logits));
    }

   private:
    SumUpstream* const upstream_;
    std::vector<int32_t> tokens_;
  };

  UpstreamInfo info_ = Info();
  int tokens_run_ = 0;
};

UpstreamStep MakeStep(int32_t base, std::vector<int32_t> tokens,
                      UpstreamStep::Positions positions = UpstreamStep::Positions::kLast) {
  UpstreamStep step;
  step.base_position = base;
  step.token_ids = std::move(tokens);
  step.positions = positions;
  return step;
}

TEST(SimulatedModelTest, RowsAreTheInnerModelsThroughRollback) {
  SumUpstream inner;
  SimulatedModelOptions options;
  options.noise = 0;
  SimulatedModel model(Info(), &inner, options);
  const auto session = model.NewSession().value();
  const auto expect = [](const UpstreamLogits& logits, int row, const std::vector<int32_t>& after) {
    for (int id = 0; id < kVocabulary; ++id) {
      ASSERT_EQ(logits.logits[row * kVocabulary + id], SumUpstream::Logit(after, id)) << id;
    }
  };
  UpstreamLogits logits = StepAndWait(*session, MakeStep(0, {3, 4})).value();
  ASSERT_EQ(logits.logits.size(), kVocabulary);
  expect(logits, 0, {3, 4});
  logits = StepAndWait(*session, MakeStep(2, {5, 6, 7}, UpstreamStep::Positions::kAll)).value();
  ASSERT_EQ(logits.rows, 3);
  expect(logits, 0, {3, 4, 5});
  expect(logits, 2, {3, 4, 5, 6, 7});
  logits = StepAndWait(*session, MakeStep(3, {9, 1}, UpstreamStep::Positions::kAll)).value();
  expect(logits, 0, {3, 4, 5, 9});
  expect(logits, 1, {3, 4, 5, 9, 1});
  EXPECT_EQ(StepAndWait(*session, MakeStep(9, {1})).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SimulatedModelTest, ARowIsComputedOnceAndAlwaysTheSame) {
  SumUpstream inner;
  SimulatedModel model(Info(), &inner, {});
  const auto first = model.NewSession().value();
  const std::vector<float> row = StepAndWait(*first, MakeStep(0, {3, 4})).value().logits;
  EXPECT_NE(row[0], SumUpstream::Logit({3, 4}, 0));  // noise
  EXPECT_EQ(inner.tokens_run(), 2);
  const auto second = model.NewSession().value();
  EXPECT_EQ(StepAndWait(*second, MakeStep(0, {3})).value().rows, 1);
  EXPECT_EQ(StepAndWait(*second, MakeStep(1, {4})).value().logits, row);
  EXPECT_EQ(inner.tokens_run(), 2);
  // What the inner session has not seen is run together with what is new.
  StepAndWait(*second, MakeStep(2, {5})).value();
  EXPECT_EQ(inner.tokens_run(), 5);
}

TEST(SimulatedModelTest, CallsOfManySessionsTakeTheTimeOfOne) {
  SimulatedModelOptions options;
  options.call = absl::Milliseconds(200);
  options.position = absl::Milliseconds(100);
  SimulatedModel model(Info(), nullptr, options);
  std::vector<std::unique_ptr<UpstreamSession>> sessions;
  std::vector<absl::Notification> done(8);
  const absl::Time start = absl::Now();
  for (absl::Notification& one : done) {
    sessions.push_back(model.NewSession().value());
    sessions.back()->Step(MakeStep(0, {1, 2}), [&one](absl::StatusOr<UpstreamLogits> logits) {
      EXPECT_TRUE(logits.ok());
      one.Notify();
    });
  }
  for (absl::Notification& one : done) one.WaitForNotification();
  const absl::Duration took = absl::Now() - start;
  EXPECT_GE(took, absl::Milliseconds(300));
  EXPECT_LT(took, 8 * absl::Milliseconds(300));  // one after the other
}

TEST(SimulatedModelTest, AClosedSessionsStepIsCancelled) {
  SimulatedModelOptions options;
  options.call = absl::Hours(1);
  SimulatedModel model(Info(), nullptr, options);
  auto session = model.NewSession().value();
  absl::Status status;
  session->Step(MakeStep(0, {1}),
                [&status](absl::StatusOr<UpstreamLogits> logits) { status = logits.status(); });
  session.reset();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace unlearn
