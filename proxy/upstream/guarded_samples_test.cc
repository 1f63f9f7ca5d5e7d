// What M draws itself, through the guard.

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "prometheus/registry.h"
#include "proxy/scheduler/fake_upstream.h"
#include "proxy/upstream/guarded_upstream.h"

namespace unlearn {
namespace {

using Positions = UpstreamStep::Positions;

constexpr int kVocab = 16;

// Draws tokens 1, 2, 3... and tells of them one by one.
class SamplingUpstream : public FakeUpstream {
 public:
  class Session : public UpstreamSession {
   public:
    explicit Session(SamplingUpstream* upstream) : upstream_(upstream) {}
    void Step(UpstreamStep step, Callback done) override {
      asked_ = step.base_position;
      done(UpstreamLogits());
    }
    void Sample(UpstreamSampling, SampleCallback rows) override {
      if (upstream_->fails) return rows(absl::UnavailableError("broken"));
      for (int i = 1; i <= 3; ++i) {
        SampledRows drawn;
        drawn.rows.push_back({i, 0, {}});
        drawn.ended = i == 3;
        rows(std::move(drawn));
      }
    }
    SamplingUpstream* const upstream_;
    int asked_ = 0;
  };
  SamplingUpstream() : FakeUpstream(kVocab, 0) {}
  int64_t connections() const override { return lost; }
  absl::StatusOr<UpstreamInfo> Probe() override {
    UpstreamInfo now = info();
    if (another) now.vocab_size += 1;
    return now;
  }
  absl::StatusOr<std::unique_ptr<UpstreamSession>> NewSession() override {
    return std::unique_ptr<UpstreamSession>(std::make_unique<Session>(this));
  }
  bool fails = false;
  std::atomic<int64_t> lost = 0;
  std::atomic<bool> another = false;
};

TEST(GuardedSamplesTest, WhatWasSampledIsHeldBackToo) {
  auto upstream = std::make_unique<SamplingUpstream>();
  SamplingUpstream& m = *upstream;
  GuardedUpstream guarded(std::move(upstream), {}, std::make_shared<prometheus::Registry>());
  ASSERT_EQ(guarded.Confirm(v1::ModelFingerprint()), absl::OkStatus());
  const auto session = guarded.NewSession().value();
  UpstreamSampling sampling;
  sampling.token_ids = {5};
  for (const bool another : {false, true}) {
    m.another = another;
    ++m.lost;
    absl::Notification over;
    std::vector<int32_t> drawn;
    absl::Status status;
    session->Sample(sampling, [&](absl::StatusOr<SampledRows> rows) {
      status = rows.status();
      if (rows.ok()) {
        for (const SampledRow& row : rows->rows) drawn.push_back(row.id);
      }
      if (!rows.ok() || rows->ended) over.Notify();
    });
    over.WaitForNotification();
    if (another) {
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
      EXPECT_TRUE(drawn.empty());
    } else {
      EXPECT_EQ(status, absl::OkStatus());
      EXPECT_EQ(drawn, (std::vector<int32_t>{1, 2, 3}));
    }
  }
}

TEST(GuardedSamplesTest, SamplesPassThroughAndAreNotRepeated) {
  auto upstream = std::make_unique<SamplingUpstream>();
  SamplingUpstream& m = *upstream;
  GuardedUpstream guarded(std::move(upstream), {}, std::make_shared<prometheus::Registry>());
  const auto session = guarded.NewSession().value();
  UpstreamSampling sampling;
  sampling.token_ids = {5};
  std::vector<int32_t> drawn;
  bool ended = false;
  session->Sample(sampling, [&](absl::StatusOr<SampledRows> rows) {
    ASSERT_TRUE(rows.ok()) << rows.status();
    for (const SampledRow& row : rows->rows) drawn.push_back(row.id);
    ended = rows->ended;
  });
  EXPECT_EQ(drawn, (std::vector<int32_t>{1, 2, 3}));
  EXPECT_TRUE(ended);
  EXPECT_TRUE(StepAndWait(*session, {4, {6}, Positions::kLast}).ok());
  m.fails = true;
  absl::Status status;
  session->Sample(sampling, [&](absl::StatusOr<SampledRows> rows) { status = rows.status(); });
  EXPECT_EQ(status.message(), "broken");
}

}  // namespace
}  // namespace unlearn
