#include "proxy/upstream/guarded_upstream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <utility>

#include "absl/synchronization/notification.h"
#include "prometheus/text_serializer.h"
#include "proxy/scheduler/fake_upstream.h"
#include "proxy/upstream/fingerprint/model_fingerprint.h"
#include "proxy/upstream/retry_after.h"

namespace unlearn {
namespace {

using Positions = UpstreamStep::Positions;

constexpr int kVocab = 16;

// An M whose next answers fail as a test says, whose connection can be lost, and which can be
// another model.
class FlakyUpstream : public FakeUpstream {
 public:
  FlakyUpstream() : FakeUpstream(kVocab, 0) {
    on_new_session = [this] {
      ++sessions;
      absl::MutexLock lock(&mutex);
      return gone;
    };
    change_answer = [this](const std::vector<int32_t>& tokens,
                           absl::StatusOr<UpstreamLogits>& answer) {
      absl::MutexLock lock(&mutex);
      seen = tokens;
      if (another) {
        for (float& logit : answer->logits) logit = -logit;
      }
      if (!gone.ok()) answer = gone;
      if (!failures.empty()) {
        if (!failures.front().ok()) answer = failures.front();
        failures.erase(failures.begin());
      }
    };
  }
  int64_t connections() const override { return lost; }
  absl::StatusOr<UpstreamInfo> Probe() override {
    absl::MutexLock lock(&mutex);
    if (!gone.ok()) return gone;
    return info();
  }

  absl::Mutex mutex;
  std::vector<absl::Status> failures;  // of the next answers
  absl::Status gone;                   // of everything
  bool another = false;
  std::vector<int32_t> seen;  // of the session that was answered last
  std::atomic<int> sessions = 0;
  std::atomic<int64_t> lost = 0;
};

class GuardedUpstreamTest : public ::testing::Test {
 protected:
  GuardedUpstreamTest() {
    options_.breaker.failures = 3;
    options_.breaker.random = [] { return 1.0; };
    options_.retry_delay = absl::Milliseconds(1);
    options_.watch.longest_wait = absl::Milliseconds(10);
    options_.now = [this] { return absl::FromUnixSeconds(seconds_); };
  }
  void Start() {
    auto upstream = std::make_unique<FlakyUpstream>();
    m_ = upstream.get();
    guarded_ = std::make_unique<GuardedUpstream>(std::move(upstream), options_, registry_);
  }
  void FailNext(std::vector<absl::Status> failures) {
    absl::MutexLock lock(&m_->mutex);
    m_->failures = std::move(failures);
  }
  void SetGone(const absl::Status& status) {
    absl::MutexLock lock(&m_->mutex);
    m_->gone = status;
  }
  // The server was restarted; with another model, perhaps.
  void Restart(bool another) {
    absl::MutexLock lock(&m_->mutex);
    ++m_->lost;
    m_->another = another;
  }
  void ExpectRow(const absl::StatusOr<UpstreamLogits>& answer, const std::vector<int32_t>& tokens) {
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->logits, m_->Row(tokens));
  }
  absl::Status OneStep() {
    absl::StatusOr<std::unique_ptr<UpstreamSession>> session = guarded_->NewSession();
    if (!session.ok()) return session.status();
    return StepAndWait(**session, {0, {1, 2}, Positions::kLast}).status();
  }
  std::string Metrics() { return prometheus::TextSerializer().Serialize(registry_->Collect()); }
  bool HasMetric(const std::string& line) {
    return Metrics().find(line + "\n") != std::string::npos;
  }

  const std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  std::atomic<int64_t> seconds_ = 1000;
  GuardOptions options_;
  FlakyUpstream* m_ = nullptr;
  std::unique_ptr<GuardedUpstream> guarded_;
};

TEST_F(GuardedUpstreamTest, StepsPassThrough) {
  Start();
  EXPECT_EQ(guarded_->info().vocab_size, kVocab);
  const auto session = guarded_->NewSession().value();
  ExpectRow(StepAndWait(*session, {0, {1, 2}, Positions::kLast}), {1, 2});
  ExpectRow(StepAndWait(*session, {1, {3}, Positions::kLast}), {1, 3});
  EXPECT_EQ(StepAndWait(*session, {9, {3}, Positions::kLast}).status().code(),
            absl::StatusCode::kInvalidArgument);
  // Many at once, and from within callbacks: answered in order.
  absl::Notification finished;
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) {
    session->Step({2 + i, {i}, Positions::kLast}, [&, i](auto logits) {
      EXPECT_TRUE(logits.ok()) << logits.status();
      order.push_back(i);
      if (i == 2) {
        session->Step({5, {7}, Positions::kLast}, [&](auto last) {
          ExpectRow(last, {1, 3, 0, 1, 2, 7});
          finished.Notify();
        });
      }
    });
  }
  finished.WaitForNotification();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST_F(GuardedUpstreamTest, AStepThatIsNotAnsweredIsAskedOnceMoreWithTheWholePrefix) {
  Start();
  const auto session = guarded_->NewSession().value();
  ExpectRow(StepAndWait(*session, {0, {1, 2, 3}, Positions::kLast}), {1, 2, 3});
  FailNext({absl::UnavailableError("broken")});
  ExpectRow(StepAndWait(*session, {2, {5}, Positions::kLast}), {1, 2, 5});
  EXPECT_EQ(m_->sessions, 2);
  EXPECT_EQ(m_->open_sessions(), 1) << "the broken one is gone";
  EXPECT_TRUE(HasMetric("unlearn_upstream_retries_total{outcome=\"answered\"} 1")) << Metrics();
  EXPECT_TRUE(HasMetric("unlearn_upstream_failures_total{code=\"UNAVAILABLE\"} 1")) << Metrics();
  // Each step anew, but each once only; of several positions their rows, and no other.
  FailNext({absl::UnavailableError("broken")});
  const auto rows = StepAndWait(*session, {3, {6, 7}, Positions::kAll});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->rows, 2);
  FailNext({absl::UnavailableError("one"), absl::OkStatus(), absl::UnavailableError("two")});
  const absl::Status status = StepAndWait(*session, {5, {8}, Positions::kLast}).status();
  EXPECT_EQ(status.message(), "two");
  EXPECT_TRUE(HasMetric("unlearn_upstream_retries_total{outcome=\"failed\"} 1")) << Metrics();
}

TEST_F(GuardedUpstreamTest, WhatIsNoFaultOfTheConnectionIsNotAskedAgain) {
  options_.breaker.failures = 100;
  Start();
  for (const absl::Status& failure :
       {absl::DeadlineExceededError("slow"), absl::InternalError("nonsense"),
        absl::InvalidArgumentError("too long"), absl::ResourceExhaustedError("full"),
        absl::FailedPreconditionError("another model")}) {
    const int sessions = m_->sessions;
    FailNext({failure});
    EXPECT_EQ(OneStep(), failure);
    EXPECT_EQ(m_->sessions, sessions + 1) << failure;
  }
}

TEST_F(GuardedUpstreamTest, AfterFailuresInARowNobodyAsksUntilOneHasTried) {
  options_.retry_delay = absl::Seconds(-1);
  Start();
  SetGone(absl::UnavailableError("the upstream x:1: refused"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(OneStep().message(), "the upstream x:1: refused");
  const int sessions = m_->sessions;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(OneStep(), absl::UnavailableError(
                             "M has failed 3 times in a row, last: the upstream x:1: refused; "
                             "tried again in 1s"));
  }
  EXPECT_EQ(m_->sessions, sessions) << "it was spared";
  EXPECT_TRUE(HasMetric("unlearn_upstream_breaker_state 2")) << Metrics();
  EXPECT_TRUE(HasMetric("unlearn_upstream_refused_total 5")) << Metrics();
  // Half-open: one tries, and fails.
  seconds_ += 1;
  EXPECT_EQ(OneStep().message(), "the upstream x:1: refused");
  EXPECT_NE(OneStep().message().find("tried again in 2s"), std::string::npos);
  // One is let through, and goes without a word: the next may try. M is back.
  seconds_ += 2;
  SetGone(absl::OkStatus());
  guarded_->NewSession().value().reset();
  EXPECT_EQ(OneStep(), absl::OkStatus());
  EXPECT_TRUE(HasMetric("unlearn_upstream_breaker_state 0")) << Metrics();
  EXPECT_EQ(OneStep(), absl::OkStatus());
}

TEST_F(GuardedUpstreamTest, RefusalsOfWhatWasAskedSayNothingAgainstTheServer) {
  Start();
  for (int i = 0; i < 10; ++i) {
    for (const absl::Status& failure :
         {absl::InvalidArgumentError("x"), absl::ResourceExhaustedError("x"),
          absl::CancelledError("x"), absl::FailedPreconditionError("x")}) {
      FailNext({failure});
      EXPECT_EQ(OneStep(), failure);
    }
  }
  EXPECT_TRUE(OneStep().ok());
}

TEST_F(GuardedUpstreamTest, AServerThatAsksToWaitIsWaitedFor) {
  options_.now = absl::Now;
  Start();
  const absl::Status busy = absl::ResourceExhaustedError("HTTP 429");
  // Shortly: the step waits.
  FailNext({WithRetryAfter(busy, absl::Milliseconds(50))});
  const absl::Time before = absl::Now();
  EXPECT_TRUE(OneStep().ok());
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(50));
  // For longer than a step may: it fails, and the next ones do not ask.
  FailNext({WithRetryAfter(busy, absl::Seconds(20))});
  EXPECT_EQ(OneStep().message(), "HTTP 429");
  const int sessions = m_->sessions;
  const absl::Status refused = OneStep();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_NE(refused.message().find("HTTP 429; asked again in"), std::string::npos) << refused;
  EXPECT_EQ(m_->sessions, sessions);
}

TEST_F(GuardedUpstreamTest, NothingOfAnotherModelPassesAfterARestart) {
  Start();
  const v1::ModelFingerprint right = TakeModelFingerprint(*m_).value();
  EXPECT_EQ(guarded_->Confirm(right), absl::OkStatus());
  const auto session = guarded_->NewSession().value();
  ExpectRow(StepAndWait(*session, {0, {1}, Positions::kLast}), {1});
  // The same model again: what came over the new connection passes once that is known.
  Restart(/*another=*/false);
  ExpectRow(StepAndWait(*session, {1, {2}, Positions::kLast}), {1, 2});
  // Another one: not even the first answer.
  Restart(/*another=*/true);
  const absl::Status status = StepAndWait(*session, {2, {3}, Positions::kLast}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_NE(status.message().find("M is not the model"), std::string::npos) << status;
  EXPECT_EQ(guarded_->Confirm(right), status);
  EXPECT_EQ(guarded_->NewSession().status(), status);
  // The right one comes back, and is found by itself.
  Restart(/*another=*/false);
  const absl::Time patience = absl::Now() + absl::Seconds(30);
  while (!guarded_->Confirm(right).ok() && absl::Now() < patience) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_EQ(OneStep(), absl::OkStatus());
  EXPECT_FALSE(HasMetric("unlearn_upstream_identity_checks_total{result=\"another\"} 0"))
      << Metrics();
}

TEST_F(GuardedUpstreamTest, AModelThatIsExchangedInPlaceIsFoundNowAndThen) {
  options_.watch.every = absl::Milliseconds(5);
  Start();
  const v1::ModelFingerprint right = TakeModelFingerprint(*m_).value();
  EXPECT_EQ(guarded_->Confirm(right), absl::OkStatus());
  const auto session = guarded_->NewSession().value();
  ExpectRow(StepAndWait(*session, {0, {1}, Positions::kLast}), {1});
  {
    absl::MutexLock lock(&m_->mutex);
    m_->another = true;
  }
  const absl::Time patience = absl::Now() + absl::Seconds(30);
  while (guarded_->Confirm(right).ok() && absl::Now() < patience) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  // The stream that runs ends as well.
  EXPECT_EQ(StepAndWait(*session, {1, {2}, Positions::kLast}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(GuardedUpstreamTest, WhatCannotBeComparedIsNotPassed) {
  Start();
  const v1::ModelFingerprint right = TakeModelFingerprint(*m_).value();
  SetGone(absl::UnavailableError("refused"));
  EXPECT_EQ(guarded_->Confirm(right), absl::UnavailableError("refused"));
  SetGone(absl::OkStatus());
  const absl::Time patience = absl::Now() + absl::Seconds(30);
  while (!guarded_->Confirm(right).ok() && absl::Now() < patience) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  const auto session = guarded_->NewSession().value();
  ExpectRow(StepAndWait(*session, {0, {1}, Positions::kLast}), {1});
  // The answer comes, the probes behind it do not.
  Restart(/*another=*/false);
  FailNext({absl::OkStatus(), absl::DeadlineExceededError("frozen")});
  EXPECT_EQ(StepAndWait(*session, {1, {2}, Positions::kLast}).status().message(), "frozen");
}

TEST_F(GuardedUpstreamTest, ClosingWhileHeldOrWaitingAnswersAndLeavesNothing) {
  options_.retry_delay = absl::Seconds(20);
  Start();
  const v1::ModelFingerprint right = TakeModelFingerprint(*m_).value();
  EXPECT_EQ(guarded_->Confirm(right), absl::OkStatus());
  for (const bool held : {false, true}) {
    auto session = guarded_->NewSession().value();
    absl::Status status;
    if (held) {
      Restart(false);
    } else {
      FailNext({absl::UnavailableError("broken")});
    }
    m_->Hold();
    session->Step({0, {1}, Positions::kLast}, [&](auto logits) { status = logits.status(); });
    m_->WaitForHeld(1);
    m_->Release();
    session.reset();
    EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
  }
  // Sessions may outlive the upstream's guard; they are told so.
  guarded_.reset();
}

}  // namespace
}  // namespace unlearn
